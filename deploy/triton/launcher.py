"""Start the embedded Triton on a bundle, watch it, stop it, and leave nothing behind.

Run with the Python of Triton's own environment::

    python deploy/triton/launcher.py run --bundle BUNDLE --run-dir RUN

It stays in the foreground. Once every model is ready it writes ``RUN/state.json``::

    {"schema": 1, "pid": ..., "triton_pid": ..., "host": "127.0.0.1",
     "grpc_url": "127.0.0.1:PORT", "http_url": "http://127.0.0.1:PORT",
     "metrics_url": "http://127.0.0.1:PORT/metrics",
     "bundle": "/path", "fingerprint": "...", "log": "/path/triton.log"}

and removes it when it ends. Exit status: 0 after SIGTERM, SIGINT or the end of its lifeline; 1 when
Triton could not start or ended by itself; 2 when the environment or the command line is wrong.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from embedded import (
    HOST,
    Ports,
    command,
    environment,
    find_wheel,
    lay_out_backend,
    require_environment,
    require_shared_memory,
)
from repository import (
    BundleFacts,
    LaunchError,
    RepositoryOptions,
    read_bundle,
    render_repository,
)

_SHM = Path("/dev/shm")  # noqa: S108 (where the backend keeps its regions)
_PORT_RANGE = range(20000, 32000)
"""Below the range from which the system takes ports for outgoing connections."""
_HARMLESS = re.compile("CudaDriverHelper|NVML")
"""Said on every machine without a GPU."""
_STOP_TIMEOUT_S = 20
_POLL_S = 0.1

app = typer.Typer(
    help="Start the embedded Triton server on a bundle.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

BundleOption = Annotated[Path, typer.Option(help="Directory of the bundle.")]
DeviceOption = Annotated[str, typer.Option(help="cpu or gpu.")]
PrecisionOption = Annotated[str, typer.Option(help="Of the networks: fp32.")]
RuntimeOption = Annotated[str, typer.Option(help="Of the networks: torch.")]
ThreadsOption = Annotated[
    int, typer.Option(min=0, help="Of each network on the CPU; 0: half of the cores.")
]
StepOption = Annotated[
    int, typer.Option(min=1, max=8, help="Patches that a network takes in one step.")
]
DecodersOption = Annotated[int, typer.Option(min=1, help="Processes that decode images.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0: a free port.")]


@app.command()
def run(
    bundle: BundleOption,
    run_dir: Annotated[Path, typer.Option(help="Folder of this instance: log, state, lock.")],
    *,
    grpc_port: PortOption = 0,
    http_port: PortOption = 0,
    metrics_port: PortOption = 0,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "fp32",
    runtime: RuntimeOption = "torch",
    threads: ThreadsOption = 0,
    images_per_forward: StepOption = 1,
    decoder_instances: DecodersOption = 1,
    response_cache_mib: Annotated[
        int, typer.Option(min=0, help="Cache of the networks' answers; 0: none.")
    ] = 0,
    ready_timeout_s: Annotated[float, typer.Option(help="Time for all models to load.")] = 180,
    lifeline: Annotated[
        bool, typer.Option("--lifeline", help="End, too, when standard input is closed.")
    ] = False,
) -> None:
    """Start Triton and stay until told to stop."""
    with _plain_errors():
        require_environment()
        facts = read_bundle(bundle)
        options = RepositoryOptions(
            bundle_path=str(facts.directory),
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
        with _locked(run_dir), _stop_signals() as woken:
            instance = Instance(facts, run_dir)
            ports = _choose_ports(
                {"--grpc-port": grpc_port, "--http-port": http_port, "--metrics-port": metrics_port}
            )
            instance.prepare(options)
            try:
                instance.start(ports, response_cache_mib, gpu=device == "gpu")
                if instance.wait_ready(woken, ready_timeout_s, lifeline=lifeline):
                    instance.write_state()
                    instance.wait_stop(woken, lifeline=lifeline)
            finally:
                instance.stop()


@app.command()
def render(
    bundle: BundleOption,
    out: Annotated[Path, typer.Option(help="Folder of the model repository.")],
    *,
    bundle_path_inside: Annotated[
        str, typer.Option(help="Where the container will see the bundle.")
    ] = "/bundle",
    device: DeviceOption = "gpu",
    precision: PrecisionOption = "fp32",
    runtime: RuntimeOption = "torch",
    threads: ThreadsOption = 0,
    images_per_forward: StepOption = 8,
    decoder_instances: DecodersOption = 4,
    response_cache: Annotated[bool, typer.Option(help="Let Triton cache answers.")] = False,
) -> None:
    """Write the model repository that a container mounts, and start nothing."""
    with _plain_errors():
        options = RepositoryOptions(
            bundle_path=bundle_path_inside,
            device=device,
            precision=precision,
            runtime=runtime,
            threads=threads,
            images_per_forward=images_per_forward,
            decoder_instances=decoder_instances,
            response_cache=response_cache,
        )
        render_repository(read_bundle(bundle), out, options)
        typer.echo(f"model repository written to {out}")


class Instance:
    """One Triton server with its run directory."""

    def __init__(self, bundle: BundleFacts, run_dir: Path) -> None:
        self._bundle = bundle
        self._run_dir = run_dir
        self._repository = run_dir / "model_repository"
        self._backends = run_dir / "backends"
        self._state = run_dir / "state.json"
        self._log = run_dir / "triton.log"
        # The same for every start in this folder, so that each start can clear what a killed one
        # left in shared memory. The run directory's lock makes that safe.
        digest = hashlib.sha256(str(run_dir).encode()).hexdigest()[:16]
        self._shm_prefix = f"slidekin-{digest}-"
        self._triton: subprocess.Popen[bytes] | None = None
        self._guard: _Guard | None = None
        self._ports = Ports(0, 0, 0)

    def prepare(self, options: RepositoryOptions) -> None:
        """Clear the leavings of a killed start and write what the server reads.

        Raises:
            LaunchError: The environment lacks a part, or an option is not known.
        """
        self._wheel = find_wheel()
        self._state.unlink(missing_ok=True)
        _remove_shared_memory(self._shm_prefix)
        require_shared_memory(_SHM)
        lay_out_backend(self._wheel, self._backends)
        render_repository(self._bundle, self._repository, options)

    def start(self, ports: Ports, response_cache_mib: int, *, gpu: bool) -> None:
        """Start the server in a process group of its own, and the guard over it."""
        self._ports = ports
        if self._log.exists():
            self._log.replace(self._log.with_name("triton.previous.log"))
        arguments = command(
            self._wheel,
            repository=self._repository,
            backends=self._backends,
            ports=ports,
            shm_prefix=self._shm_prefix,
            response_cache_mib=response_cache_mib,
            gpu=gpu,
        )
        with self._log.open("wb") as log:
            self._triton = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(self._wheel),
                cwd=self._run_dir,
                start_new_session=True,
            )
        self._guard = _Guard(self._triton.pid, self._shm_prefix)

    def wait_ready(self, woken: socket.socket, timeout_s: float, *, lifeline: bool) -> bool:
        """Wait until every model is ready; False when told to stop meanwhile.

        Raises:
            LaunchError: The server ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._require_alive("did not start")
            if self._is_ready():
                return True
            if _told_to_stop(woken, lifeline=lifeline):
                return False
        msg = f"Triton's models were not ready within {timeout_s:g} s: {self._last_words()}"
        raise LaunchError(msg)

    def write_state(self) -> None:
        """Publish where the server listens, in one step."""
        state = {
            "schema": 1,
            "pid": os.getpid(),
            "triton_pid": self._triton.pid if self._triton else 0,
            "host": HOST,
            "grpc_url": f"{HOST}:{self._ports.grpc}",
            "http_url": f"http://{HOST}:{self._ports.http}",
            "metrics_url": f"http://{HOST}:{self._ports.metrics}/metrics",
            "bundle": str(self._bundle.directory),
            "fingerprint": self._bundle.fingerprint,
            "log": str(self._log),
        }
        draft = self._state.with_suffix(".tmp")
        draft.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        draft.replace(self._state)
        typer.echo(f"Triton ready: gRPC {state['grpc_url']}, log {self._log}")

    def wait_stop(self, woken: socket.socket, *, lifeline: bool) -> None:
        """Return when told to stop.

        Raises:
            LaunchError: The server ended by itself.
        """
        while not _told_to_stop(woken, lifeline=lifeline):
            self._require_alive("ended by itself")

    def stop(self) -> None:
        """Stop the server and its models' processes; nothing of them stays."""
        self._state.unlink(missing_ok=True)
        if self._triton is None:
            return
        self._triton.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._triton.wait(_STOP_TIMEOUT_S)
        _kill_group(self._triton.pid)
        self._triton.wait()
        _remove_shared_memory(self._shm_prefix)
        if self._guard:
            self._guard.dismiss()

    def _is_ready(self) -> bool:
        url = f"http://{HOST}:{self._ports.http}/v2/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _require_alive(self, fault: str) -> None:
        if self._triton is not None and self._triton.poll() is not None:
            msg = f"Triton {fault} (status {self._triton.returncode}): {self._last_words()}"
            raise LaunchError(msg)

    def _last_words(self) -> str:
        """The first errors in the log, which name the cause, and where to read on."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [
            line
            for line in lines
            if (line.startswith("E") or "Error:" in line) and not _HARMLESS.search(line)
        ]
        said = " | ".join((errors or lines[-3:])[:3])
        return f"{said} (log: {self._log})"


class _Guard:
    """A small process that outlives the launcher by a moment.

    It waits at a pipe. A launcher that ends in order dismisses it; one that is killed closes the
    pipe unsaid, and the guard ends the server and clears its shared memory.
    """

    def __init__(self, group: int, shm_prefix: str) -> None:
        watched, self._pipe = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            self._watch(watched, group, shm_prefix)
        os.close(watched)

    @staticmethod
    def _watch(watched: int, group: int, shm_prefix: str) -> None:
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for standard in range(3):
                os.dup2(nowhere, standard)
            if not os.read(watched, 1):
                _kill_group(group)
                _remove_shared_memory(shm_prefix)
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """Tell the guard that all is cleared, and wait for its end."""
        os.write(self._pipe, b".")
        os.close(self._pipe)
        os.waitpid(self._pid, 0)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _remove_shared_memory(prefix: str) -> None:
    for region in _SHM.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[BinaryIO]:
    """Hold the run directory; the guard holds it, too, until it has cleared up."""
    with (run_dir / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"{run_dir}: another launcher runs there: stop it, or name another --run-dir"
            raise LaunchError(msg) from None
        yield lock


@contextlib.contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """A socket that becomes readable when a signal says stop or the server has ended."""
    ours, woken = socket.socketpair()
    for end in (ours, woken):
        end.settimeout(0)
    previous = {
        number: signal.signal(number, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    }
    before = signal.set_wakeup_fd(ours.fileno())
    try:
        yield woken
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in previous.items():
            signal.signal(number, handler)
        ours.close()
        woken.close()


def _told_to_stop(woken: socket.socket, *, lifeline: bool) -> bool:
    """Wait for a moment; whether a signal or the end of the lifeline says stop."""
    with selectors.DefaultSelector() as selector:
        selector.register(woken, selectors.EVENT_READ)
        if lifeline:
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        ready = {key.fd for key, _ in selector.select(_POLL_S)}
    if woken.fileno() in ready:
        numbers = woken.recv(64)
        if any(number in numbers for number in (signal.SIGTERM, signal.SIGINT)):
            return True
    return lifeline and sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096)


def _choose_ports(wanted: dict[str, int]) -> Ports:
    """Check the ports that were named, and find free ones for the others.

    Raises:
        LaunchError: A named port is taken, or named twice.
    """
    named = [port for port in wanted.values() if port]
    if len(set(named)) < len(named):
        msg = f"the ports must differ: {', '.join(str(port) for port in wanted.values())}"
        raise LaunchError(msg)
    chosen: list[int] = []
    for option, port in wanted.items():
        if port and not _is_free(port):
            msg = f"{option}: port {port} is taken on {HOST}: name another, or 0 for a free one"
            raise LaunchError(msg)
        chosen.append(port or _free_port({*named, *chosen}))
    return Ports(*chosen)


def _free_port(taken: set[int]) -> int:
    for port in random.sample(_PORT_RANGE, 200):
        if port not in taken and _is_free(port):
            return port
    msg = f"no free port found on {HOST}: name one"
    raise LaunchError(msg)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except LaunchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=error.exit_status) from error


if __name__ == "__main__":
    app()
