"""``slidekin up``, ``down`` and ``status``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from slidekin._exceptions import UnavailableError
from slidekin._types import ServedModel, Status
from slidekin.cli import _stack
from slidekin.cli._collections import collections_table
from slidekin.cli._common import (
    FAILED,
    CommandError,
    ServerOption,
    err_console,
    escape,
    out_console,
    say_random_weights,
)
from slidekin.cli._connection import connect
from slidekin.cli._home import default_home, read_stack

_TRACING = "SLIDEKIN_SERVER__TRACING__ENDPOINT"
"""The service's own setting, which it has from the environment of `up`."""

HomeOption = Annotated[
    Path | None,
    typer.Option(
        envvar="SLIDEKIN_HOME",
        help="Folder of state, logs, data and model. Default: slidekin in the user's state folder.",
    ),
]


def up(
    models: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML that chooses the networks; makes a bundle of it."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Model bundle that was built before.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Model store; all its bundles are served side by side."),
    ] = None,
    *,
    home: HomeOption = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of the service. Default: 50051, or a free one."),
    ] = None,
    triton_python: Annotated[
        Path | None,
        typer.Option(envvar="SLIDEKIN_TRITON_PYTHON", help="Python of Triton's environment."),
    ] = None,
    deploy_dir: Annotated[
        Path | None,
        typer.Option(envvar="SLIDEKIN_DEPLOY_DIR", help="The project's deploy folder."),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(help="What runs the networks: torch, openvino, ...; auto: the fastest."),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(help="Of the networks: fp32 (needed for sish-2022), bf16, fp16, or auto."),
    ] = "auto",
    trace_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Collector of Triton's spans: http://HOST:4318/v1/traces. They go on with the "
            f"service's traces, which {_TRACING} turns on.",
        ),
    ] = "",
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="Longest wait until it is ready.")
    ] = 300.0,
    allow_random_weights: Annotated[
        bool,
        typer.Option(
            "--allow-random-weights", help="Serve a --bundle or --store of random weights."
        ),
    ] = False,
) -> None:
    """Start Triton and the search service on this machine; what runs already is left alone."""
    if sum(given is not None for given in (models, bundle, store)) > 1:
        raise typer.BadParameter(
            "give either --models or --bundle or --store", param_hint="--bundle"
        )
    if models is not None and not models.is_file():
        raise typer.BadParameter(f"there is no file {models}", param_hint="--models")
    if trace_url and not os.environ.get(_TRACING):
        raise typer.BadParameter(
            f"Triton goes on with the service's traces, and there are none: set {_TRACING}, too, "
            "to the collector's http://HOST:4317",
            param_hint="--trace-url",
        )
    deploy = _stack.find_deploy_dir(deploy_dir)
    plan = _stack.Plan(
        home=(home or default_home()).absolute(),
        triton_python=_stack.find_triton_python(triton_python, deploy),
        deploy_dir=deploy,
        models=models,
        bundle=bundle,
        store=store,
        allow_random_weights=allow_random_weights,
        port=port,
        runtime=runtime,
        precision=precision,
        trace_url=trace_url,
        timeout_s=timeout,
    )
    console = err_console()
    with console.status("starting") as spinner:

        def tell(step: str) -> None:
            spinner.update(step)
            if not console.is_terminal:
                console.print(step)

        stack, ran_before = _stack.up(plan, tell)
    out = out_console()
    out.print(
        f"slidekin {'runs already' if ran_before else 'is ready'} at {stack.server}; metrics at "
        f"{stack.metrics}; logs and data in {escape(str(plan.home))}",
        soft_wrap=True,
    )


def down(home: HomeOption = None) -> None:
    """Stop what `up` started."""
    where = (home or default_home()).absolute()
    with err_console().status("stopping"):
        ran = _stack.down(where)
    out_console().print("stopped" if ran else f"nothing runs from {escape(str(where))}")


def status(home: HomeOption = None, server: ServerOption = None) -> None:
    """Show what is served, the state of the networks, and the collections."""
    if server is None:
        stack = read_stack(home or default_home())
        if stack is not None and not stack.alive():
            raise CommandError(
                "a part of the stack has ended by itself; "
                f"its logs are in {home or default_home()}; `slidekin up` starts it again"
            )
        server = stack.server if stack and stack.server else None
    with connect(server) as client:
        try:
            found = client.status()
        except UnavailableError as error:
            raise CommandError(str(error)) from None
        collections = list(client.list_collections())
    out = out_console()
    out.print(_facts(client.target, found))
    if found.model.random_weights:
        say_random_weights()
    if found.model.networks:
        out.print(_networks(found))
    out.print(collections_table(collections) if collections else "no collections yet")
    # A service that was started for codes alone has no networks to wait for.
    networks_ready = found.encoder_state == "ready" or not found.model.fingerprint
    if not (found.index_loaded and networks_ready):
        raise typer.Exit(FAILED)


def _facts(target: str, found: Status) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    colour = "green" if found.encoder_state == "ready" else "red"
    started = found.start_time.strftime("%Y-%m-%d %H:%M:%S UTC") if found.start_time else "-"
    table.add_row("service", f"{escape(target)}, version {escape(found.version)}, since {started}")
    table.add_row("index", "loaded" if found.index_loaded else "[red]loading[/]")
    table.add_row(
        "networks",
        f"[{colour}]{found.encoder_state}[/]"
        + (f": {escape(found.encoder_message)}" if found.encoder_message else ""),
    )
    for served in found.models:
        table.add_row("model", _served(served))
    if not found.models:
        table.add_row("model", "none")
    table.add_row("held", f"{found.slide_count:,} slides, {found.patch_count:,} patches")
    return table


def _served(served: ServedModel) -> str:
    told = f"{escape(served.name)} ({served.model.fingerprint[:16]})"
    if served.active:
        told += ", of new collections"
    if served.encoder_state == "ready":
        return told
    return f"{told}: [red]{served.encoder_state}[/] {escape(served.encoder_message)}"


def _networks(found: Status) -> Table:
    table = Table(title="Networks", title_justify="left")
    for name in ("role", "name", "architecture", "runs as", "weights", "licence"):
        table.add_column(name, overflow="fold")
    for network in found.model.networks:
        table.add_row(
            escape(network.role),
            escape(network.name),
            escape(network.architecture),
            escape(f"{network.runtime} {network.precision}".strip() or "-"),
            "[yellow]random[/]" if network.random_weights else escape(network.source),
            escape(network.licence),
        )
    return table
