"""Start the embedded Triton on bundles, watch it, stop it, and leave nothing behind.

Run with the Python of Triton's own environment::

    python deploy/triton/launcher.py run --bundle BUNDLE --run-dir RUN

It stays in the foreground. Once every model is ready it writes ``RUN/state.json``::

    {"schema": 1, "pid": ..., "triton_pid": ..., "host": "127.0.0.1",
     "grpc_url": "127.0.0.1:PORT", "http_url": "http://127.0.0.1:PORT",
     "metrics_url": "http://127.0.0.1:PORT/metrics",
     "bundles": [{"path": "/path", "fingerprint": "...",
                  "runtimes": {"vqvae": "openvino bf16", "texture": "openvino fp32"}}],
     "log": "/path/triton.log"}

and removes it when it ends. Exit status: 0 after SIGTERM, SIGINT or the end of its lifeline; 1 when
Triton could not start or ended by itself; 2 when the environment or the command line is wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from bundles import find_bundles
from container import become_server, require_ready
from embedded import require_environment
from instance import Instance
from launch_errors import LaunchError
from repository import RepositoryOptions, render_repository
from runtimes import AUTO
from stopping import locked, stop_signals

from ports import HOST, Ports, choose_ports

app = typer.Typer(
    help="Start the embedded Triton server on one or several bundles.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

BundleOption = Annotated[
    list[Path] | None,
    typer.Option(help="Directory of a bundle; several are served side by side."),
]
StoreOption = Annotated[
    Path | None, typer.Option(help="Model store: every bundle in it is served.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu or gpu.")]
PrecisionOption = Annotated[str, typer.Option(help="fp32, bf16, fp16, or auto.")]
RuntimeOption = Annotated[
    str,
    typer.Option(
        help="torch, torch-folded, torch-compile, torch-cudagraphs, openvino; or auto: for each "
        "network the fastest that 'models gate' accepted."
    ),
]
ThreadsOption = Annotated[
    int, typer.Option(min=0, help="Per network on the CPU; 0: a suitable number.")
]
StepOption = Annotated[
    int, typer.Option(min=1, max=8, help="Patches that a network encodes in one step.")
]
DecodersOption = Annotated[int, typer.Option(min=1, help="Processes that decode images.")]
ResponseCacheOption = Annotated[
    int, typer.Option(min=0, help="Cache of the networks' answers; 0: none.")
]
TraceUrlOption = Annotated[
    str,
    typer.Option(
        help="Collector of traces, by OTLP over HTTP: http://HOST:4318/v1/traces. Empty: none."
    ),
]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0: a free port.")]
FixedPortOption = Annotated[int, typer.Option(min=1, max=65535)]


@app.command()
def run(
    run_dir: Annotated[Path, typer.Option(help="Folder of this instance: log, state, lock.")],
    *,
    bundle: BundleOption = None,
    store: StoreOption = None,
    grpc_port: PortOption = 0,
    http_port: PortOption = 0,
    metrics_port: PortOption = 0,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = AUTO,
    runtime: RuntimeOption = AUTO,
    threads: ThreadsOption = 0,
    images_per_forward: StepOption = 1,
    decoder_instances: DecodersOption = 1,
    response_cache_mib: ResponseCacheOption = 0,
    trace_url: TraceUrlOption = "",
    ready_timeout_s: Annotated[float, typer.Option(help="Time for all models to load.")] = 180,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", help="Also end when standard input is closed.")
    ] = False,
) -> None:
    """Start Triton and run until told to stop."""
    with _plain_errors():
        require_environment()
        bundles = find_bundles(bundle or (), store)
        options = RepositoryOptions(
            device=device,
            precision=precision,
            runtime=runtime,
            threads=threads,
            images_per_forward=images_per_forward,
            decoder_instances=decoder_instances,
            response_cache=response_cache_mib > 0,
        )
        run_dir = run_dir.resolve()
        run_dir.mkdir(parents=True, exist_ok=True)
        with locked(run_dir), stop_signals() as woken:
            instance = Instance(bundles, run_dir)
            ports = choose_ports(
                {"--grpc-port": grpc_port, "--http-port": http_port, "--metrics-port": metrics_port}
            )
            instance.prepare(options)
            try:
                instance.start(ports, response_cache_mib, gpu=device == "gpu", trace_url=trace_url)
                if instance.wait_ready(woken, ready_timeout_s, lifeline=lifeline):
                    instance.write_state()
                    instance.wait_stop(woken, lifeline=lifeline)
            finally:
                instance.stop()


@app.command()
def render(
    out: Annotated[Path, typer.Option(help="Folder of the model repository.")],
    *,
    bundle: BundleOption = None,
    store: StoreOption = None,
    bundle_path_inside: Annotated[
        str | None,
        typer.Option(
            help="Path of a bundle in the container; {name} stands for its folder's name.",
            show_default="/bundle; of several or a store: /models/{name}",
        ),
    ] = None,
    device: DeviceOption = "gpu",
    precision: PrecisionOption = AUTO,
    runtime: RuntimeOption = AUTO,
    threads: ThreadsOption = 0,
    images_per_forward: StepOption = 8,
    decoder_instances: DecodersOption = 4,
    response_cache: Annotated[bool, typer.Option(help="Let Triton cache answers.")] = False,
) -> None:
    """Write the model repository for a container to mount; start nothing."""
    with _plain_errors():
        bundles = find_bundles(bundle or (), store)
        options = RepositoryOptions(
            bundle_path=bundle_path_inside
            or ("/models/{name}" if store or len(bundles) > 1 else "/bundle"),
            device=device,
            precision=precision,
            runtime=runtime,
            threads=threads,
            images_per_forward=images_per_forward,
            decoder_instances=decoder_instances,
            response_cache=response_cache,
        )
        render_repository(bundles, out, options)
        typer.echo(f"model repository written to {out}")


@app.command()
def serve(
    work: Annotated[Path, typer.Option(help="Writable folder, such as a tmpfs.")],
    *,
    bundle: BundleOption = None,
    store: StoreOption = None,
    server: Annotated[
        Path | None,
        typer.Option(help="Folder of the server.", show_default="the server in the wheel"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Triton does not authenticate.")
    ] = HOST,
    grpc_port: FixedPortOption = 8001,
    http_port: FixedPortOption = 8000,
    metrics_port: FixedPortOption = 8002,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = AUTO,
    runtime: RuntimeOption = AUTO,
    threads: ThreadsOption = 0,
    images_per_forward: StepOption = 1,
    decoder_instances: DecodersOption = 1,
    response_cache_mib: ResponseCacheOption = 0,
    max_connection_age_s: Annotated[
        int,
        typer.Option(
            min=0,
            help="Callers reconnect after this time, and find new servers; 0: never.",
        ),
    ] = 0,
    trace_url: TraceUrlOption = "",
) -> None:
    """Replace this process by the server; the command of a container."""
    with _plain_errors():
        require_environment()
        become_server(
            find_bundles(bundle or (), store),
            RepositoryOptions(
                device=device,
                precision=precision,
                runtime=runtime,
                threads=threads,
                images_per_forward=images_per_forward,
                decoder_instances=decoder_instances,
                response_cache=response_cache_mib > 0,
            ),
            server=server,
            work=work.resolve(),
            host=host,
            ports=Ports(grpc_port, http_port, metrics_port),
            response_cache_mib=response_cache_mib,
            max_connection_age_s=max_connection_age_s,
            trace_url=trace_url,
        )


@app.command()
def health(http_port: FixedPortOption = 8000) -> None:
    """Ask the server on this machine whether it is ready; exit status 0 if it is."""
    with _plain_errors():
        require_ready(http_port)


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except LaunchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=error.exit_status) from error


if __name__ == "__main__":
    app()
