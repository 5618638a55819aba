"""The Triton server inside the ``nvidia-pytriton`` wheel: where its files are, and what it needs.

Nothing is imported from the wheel: only the server's own files in it are used.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from launch_errors import EnvironmentRefusedError
from server_command import ServerFiles

_REQUIREMENTS = "deploy/triton/requirements.txt"
_SHM_MIB = 256
"""Measured: 105 MiB with 16 patches in flight."""
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
"""Keeps the memory of a patch for the next one instead of returning it to the system. Without this,
on a virtual machine, decoding a patch touched 3,380 fresh pages and took 13 ms of processor time
instead of 8, and raw pixels took 8 ms instead of 3 through Triton with networks that do nothing."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """Files of the installed wheel."""

    tritonserver: Path
    python_backend: Path
    stub: Path
    caches: Path
    libraries: Path
    libpython: Path | None
    """Folder of libpython; None if the loader finds it by itself."""


def require_environment() -> None:
    """Refuse an environment in which Triton's Python models would get garbage.

    Raises:
        EnvironmentRefusedError: numpy is missing or too new.
    """
    try:
        version = importlib.metadata.version("numpy")
    except importlib.metadata.PackageNotFoundError:
        msg = f"numpy is not installed for {sys.executable}: install {_REQUIREMENTS}"
        raise EnvironmentRefusedError(msg) from None
    if int(version.split(".")[0]) > 1:
        msg = (
            f"numpy {version} is installed for {sys.executable}, and Triton's Python models get "
            f"garbage from numpy 2 on: start the launcher with the Python of an environment of "
            f"its own, made from {_REQUIREMENTS}"
        )
        raise EnvironmentRefusedError(msg)


def require_shared_memory(folder: Path, needed_mib: int = _SHM_MIB) -> None:
    """Refuse shared memory that is too small for the tensors under load.

    Raises:
        EnvironmentRefusedError: Less than ``needed_mib`` is free.
    """
    free_mib = shutil.disk_usage(folder).free >> 20
    if free_mib < needed_mib:
        msg = (
            f"{folder} has {free_mib} MiB free, and Triton's Python models exchange tensors there: "
            f"give it {needed_mib} MiB or more (in a container: --shm-size)"
        )
        raise EnvironmentRefusedError(msg)


def find_wheel() -> Wheel:
    """Find the server's files in the running interpreter's environment.

    Raises:
        EnvironmentRefusedError: The wheel or libpython is missing, or does not fit this Python.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        msg = f"nvidia-pytriton is not installed for {sys.executable}: install {_REQUIREMENTS}"
        raise EnvironmentRefusedError(msg)
    package = Path(spec.origin).parent
    server = package / "tritonserver"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.parent.name for path in server.glob("*/*/*_stub")))
        msg = f"nvidia-pytriton has no backend for Python {python}; it has {known}"
        raise EnvironmentRefusedError(msg)
    return Wheel(
        tritonserver=server / "bin" / "tritonserver",
        python_backend=server / "backends" / "python",
        stub=stub,
        caches=server / "caches",
        libraries=package.parent / "nvidia_pytriton.libs",
        libpython=_libpython_folder(),
    )


def _libpython_folder() -> Path | None:
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    folder = Path(sysconfig.get_config_var("LIBDIR") or "")
    if (folder / name).is_file():
        return folder
    try:
        ctypes.CDLL(name)
    except OSError:
        msg = (
            f"{name} is not on this machine, and Triton's Python backend needs it: install it "
            f"(Debian, Ubuntu: apt-get install {name.split('.so', maxsplit=1)[0]})"
        )
        raise EnvironmentRefusedError(msg) from None
    return None


def lay_out_backend(wheel: Wheel, backends: Path) -> ServerFiles:
    """Put the Python backend's files into one folder, as the server expects them."""
    folder = backends / "python"
    shutil.rmtree(backends, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (folder / name).symlink_to(wheel.python_backend / name)
    # Files in wheels lose their execute permission, so the stub is copied instead of linked.
    stub = folder / wheel.stub.name
    shutil.copyfile(wheel.stub, stub)
    stub.chmod(0o755)
    return ServerFiles(wheel.tritonserver, backends, wheel.caches)


def environment(wheel: Wheel | None) -> dict[str, str]:
    """Return environment variables for the server and for the Python of its models.

    Args:
        wheel: The wheel that contains the server; None: a server that finds its own libraries.
    """
    variables = {
        **_MALLOC,
        **os.environ,
        # The embedded interpreter finds its environment through the first python3 on the path.
        "PATH": os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        ),
    }
    if wheel is not None:
        libraries = [wheel.libraries, wheel.libpython]
        variables["LD_LIBRARY_PATH"] = os.pathsep.join(str(path) for path in libraries if path)
    return variables
