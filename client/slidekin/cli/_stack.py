"""The embedded stack: Triton under its launcher and the search service, as detached processes."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slidekin.cli._common import CommandError
from slidekin.cli._home import Process, Stack, read_stack, started_at, write_stack
from slidekin.cli._stack_models import Models, build_bundle, named_models, short

SEARCH_SERVICE = "slidekin.v1.SearchService"
HOST = "127.0.0.1"
USUAL_PORT = 50051
USUAL_METRICS_PORT = 9464
_POLL_S = 0.1
_STOP_TIMEOUT_S = 45.0
_TAIL_LINES = 15

Tell = Callable[[str], None]
"""Told what is being waited for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be started and with which parts."""

    home: Path
    """Folder of state, logs, data and model."""
    triton_python: Path
    """Python of Triton's environment."""
    deploy_dir: Path
    """The project's ``deploy`` folder."""
    models: Path | None = None
    """YAML file that chooses the networks; a bundle is made of it."""
    bundle: Path | None = None
    """A bundle that was made before."""
    store: Path | None = None
    """A model store, all of whose bundles are served."""
    allow_random_weights: bool = False
    """Serve bundles of random weights."""
    port: int | None = None
    """Port of the service. None: the usual one, or a free one where that is taken."""
    runtime: str = "auto"
    """What runs the networks; ``auto`` leaves the choice to Triton's launcher."""
    precision: str = "auto"
    """Of the networks; ``auto`` likewise."""
    trace_url: str = ""
    """Where Triton sends its spans, by OTLP over HTTP; empty: nowhere."""
    timeout_s: float = 300.0
    """How long all of it may take to get ready."""


def up(plan: Plan, tell: Tell) -> tuple[Stack, bool]:
    """Starts what does not run yet.

    Returns:
        The running stack, and whether it ran before.

    Raises:
        CommandError: It could not be started; nothing of it is left running.
    """
    plan.home.mkdir(parents=True, exist_ok=True)
    with _locked(plan.home):
        running = read_stack(plan.home)
        if running is not None and running.alive() and running.server:
            _check_same_models(plan, running)
            _wait_serving(running, plan, tell)
            return running, True
        if running is not None:
            tell("stopping what is left of an earlier start")
            _stop(plan.home, running)
        try:
            return _start(plan, tell), False
        except BaseException:
            left = read_stack(plan.home)
            if left is not None:
                _stop(plan.home, left)
            raise


def down(home: Path) -> bool:
    """Stops what was started from this home; tells whether anything ran.

    Raises:
        CommandError: Something does not stop.
    """
    if not home.is_dir():
        return False
    with _locked(home):
        stack = read_stack(home)
        return stack is not None and _stop(home, stack)


def find_deploy_dir(named: Path | None) -> Path:
    """The project's ``deploy`` folder: the one named, else that of the checkout this runs from.

    Raises:
        CommandError: It holds no launcher.
    """
    folder = named or Path(__file__).resolve().parents[3] / "deploy"
    if not (folder / "triton" / "launcher.py").is_file():
        raise CommandError(
            f"there is no Triton launcher in {folder}: name the project's deploy folder with "
            "--deploy-dir or SLIDEKIN_DEPLOY_DIR"
        )
    return folder.resolve()


def find_triton_python(named: Path | None, deploy_dir: Path) -> Path:
    """Python of Triton's environment: the one named, else that beside the deploy folder.

    Raises:
        CommandError: There is none.
    """
    # Not resolved: a virtual environment's Python is a link whose place is what counts.
    python = named or deploy_dir.parent / ".venv-triton" / "bin" / "python"
    if not python.is_file():
        raise CommandError(
            f"Triton's environment is missing: there is no {python}; make it with `make env`, or "
            "name its Python with --triton-python or SLIDEKIN_TRITON_PYTHON"
        )
    return python.absolute()


def _start(plan: Plan, tell: Tell) -> Stack:
    deadline = time.monotonic() + plan.timeout_s
    models = _models(plan, tell)
    tell("starting Triton")
    run_dir = plan.home / "triton"
    state_file = run_dir / "state.json"
    state_file.unlink(missing_ok=True)
    launcher_log = plan.home / "launcher.log"
    triton = _launch(
        [
            str(plan.triton_python),
            str(plan.deploy_dir / "triton" / "launcher.py"),
            "run",
            models.launcher_option,
            f"--run-dir={run_dir}",
            f"--runtime={plan.runtime}",
            f"--precision={plan.precision}",
            *([f"--trace-url={plan.trace_url}"] if plan.trace_url else []),
        ],
        launcher_log,
    )
    stack = Stack(triton=triton.identity, fingerprint=models.fingerprint)
    write_stack(plan.home, stack)
    tell("loading the networks into Triton")
    state = _await_file(
        state_file, triton, deadline, "Triton", [launcher_log, run_dir / "triton.log"]
    )

    tell("starting the search service")
    service_state = plan.home / "service.json"
    service_state.unlink(missing_ok=True)
    config = plan.home / "service.yaml"
    config.write_text(_config(plan, models, str(state["grpc_url"])), encoding="utf-8")
    service_log = plan.home / "service.log"
    service = _launch(
        [
            sys.executable,
            "-m",
            "slidekin_server",
            "serve",
            f"--config={config}",
            f"--state-file={service_state}",
        ],
        service_log,
    )
    stack = dataclasses.replace(stack, service=service.identity)
    write_stack(plan.home, stack)
    listening = _await_file(service_state, service, deadline, "the search service", [service_log])
    stack = dataclasses.replace(
        stack, server=str(listening["grpc_url"]), metrics=str(listening["metrics_url"])
    )
    write_stack(plan.home, stack)
    _wait_serving(stack, plan, tell, deadline=deadline)
    return stack


def _models(plan: Plan, tell: Tell) -> Models:
    """What is to be served, made first where only its recipe is given."""
    if plan.bundle is not None or plan.store is not None:
        named = named_models(plan.bundle, plan.store)
        if named.random_weights and not plan.allow_random_weights:
            raise CommandError(
                f"networks in {named.path} have random weights, whose answers say nothing of "
                "tissue; add --allow-random-weights to serve them all the same"
            )
        return named
    out = (plan.home / "models").resolve()
    if plan.models is None:
        if not (out / "bundle.yaml").is_file():
            raise CommandError(
                "say which networks to serve: --models FILE.yaml chooses them (for a trial: "
                f"{plan.deploy_dir / 'demo' / 'models.yaml'}), --bundle DIR takes some that were "
                "built before"
            )
    else:
        tell("building the model bundle")
        build_bundle(
            plan.models, out, plan.triton_python, _environment(_folder_of("slidekin_models"))
        )
    # The file says in as many words that random weights are meant, or building had refused.
    return named_models(out, None)


def _check_same_models(plan: Plan, running: Stack) -> None:
    if plan.bundle is None and plan.store is None:
        return
    wanted = named_models(plan.bundle, plan.store).fingerprint
    if wanted != running.fingerprint:
        raise CommandError(
            f"the stack at {running.server} serves other models ({short(running.fingerprint)}, not "
            f"{short(wanted)}): `slidekin down` first, or use another --home"
        )


def _config(plan: Plan, models: Models, triton_url: str) -> str:
    """The service's settings. JSON is YAML."""
    settings = {
        "listen": {"host": HOST, "port": _port(plan.port, USUAL_PORT)},
        "metrics": {"host": HOST, "port": _port(None, USUAL_METRICS_PORT)},
        "storage": {"path": str((plan.home / "data").resolve())},
        "model": {**models.settings, "allow_random_weights": True},
        "triton": {"url": triton_url},
        # Nothing here sends calls elsewhere.
        "shutdown_notice_s": 0,
    }
    return "# Written by `slidekin up`.\n" + json.dumps(settings, indent=2) + "\n"


def _port(wanted: int | None, usual: int) -> int:
    """The port asked for; else the usual one; else (0) a free one."""
    if wanted is not None:
        return wanted
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, usual))
        except OSError:
            return 0
    return usual


@dataclass(frozen=True, slots=True)
class _Launched:
    """A process that was just started."""

    popen: subprocess.Popen[bytes]
    identity: Process


def _launch(command: list[str], log: Path) -> _Launched:
    """Starts a process that outlives this one and the terminal."""
    with log.open("ab") as stream:
        popen = subprocess.Popen(
            command,
            env=_environment(_folder_of("slidekin_server")),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    return _Launched(popen, Process(popen.pid, started_at(popen.pid) or 0))


def _await_file(
    file: Path, launched: _Launched, deadline: float, what: str, logs: list[Path]
) -> dict[str, Any]:
    """Waits for the file in which a process says that it is there."""
    while not file.exists():
        if launched.popen.poll() is not None:
            raise CommandError(
                f"{what} ended with exit code {launched.popen.returncode} while it started:\n"
                + _tail(logs)
            )
        if time.monotonic() > deadline:
            raise CommandError(
                f"{what} did not get ready in time; allow more with --timeout:\n" + _tail(logs)
            )
        time.sleep(_POLL_S)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _wait_serving(stack: Stack, plan: Plan, tell: Tell, *, deadline: float | None = None) -> None:
    """Waits until the service says that it is ready: index loaded, Triton there, canary right."""
    import grpc  # noqa: PLC0415 - with the next line
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - comes with the service

    tell("checking the networks with the canary patch")
    deadline = deadline or time.monotonic() + plan.timeout_s
    log = plan.home / "service.log"
    with grpc.insecure_channel(stack.server) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=SEARCH_SERVICE)
        while True:
            with contextlib.suppress(grpc.RpcError):
                answer = health.Check(request, timeout=5.0)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            if not stack.alive():
                raise CommandError("the stack ended while it started:\n" + _tail([log]))
            if time.monotonic() > deadline:
                raise CommandError(
                    "the search service did not get ready in time; `slidekin status` says more, "
                    f"{log} all of it:\n" + _tail([log])
                )
            time.sleep(_POLL_S)


def _stop(home: Path, stack: Stack) -> bool:
    """Stops the service, then Triton; tells whether any ran."""
    ran = False
    # The service first: it would only log that Triton went away.
    for process in (stack.service, stack.triton):
        if process is not None and process.alive():
            ran = True
            _end(process)
    write_stack(home, None)
    return ran


def _end(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                # It leads a session of its own: its children go with it.
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while process.alive():
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        else:
            return
    raise CommandError(f"process {process.pid} does not stop")


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One `up` or `down` at a time."""
    with (home / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"another `slidekin up` or `down` is at work in {home}; wait for it"
            ) from None
        yield


def _environment(package_folder: str) -> dict[str, str]:
    """This environment, in which a package can be imported without being installed."""
    paths = [package_folder, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def _folder_of(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CommandError(
            f"{package} is not installed here: install slidekin[cli,server], or run from a checkout"
        )
    return str(Path(next(iter(spec.submodule_search_locations))).parent)


def _tail(logs: list[Path]) -> str:
    """The last lines of the first log that has any."""
    for log in logs:
        with contextlib.suppress(OSError):
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return "\n".join([*lines[-_TAIL_LINES:], f"(end of {log})"])
    return "(no log)"
