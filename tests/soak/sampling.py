"""What the processes of a stack hold: memory, open files, threads, shared memory, disk."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from tests.load.stack import Stack

_MIB = 2**20
_SHM = "/dev/shm/"


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a stack; sums over the processes of each part."""

    at_s: float
    """From the begin of the load."""
    service_pss_mib: float
    """Memory that would come back if the process ended: what it shares counts in parts."""
    service_rss_mib: float
    service_fds: int
    service_threads: int
    triton_pss_mib: float
    triton_rss_mib: float
    triton_fds: int
    triton_threads: int
    shm_mib: float
    """Files in /dev/shm that a process of the stack maps."""
    store_mib: float
    """The store's folder on disk."""
    logs_mib: float
    """What service and Triton have logged; it grows, and whoever runs them rotates it."""

    def line(self) -> dict[str, float | int]:
        """Return it as plain values."""
        return asdict(self)


class Sampler:
    """Looks at a stack.

    Args:
        stack: A service, and Triton behind it where there is one.
        folder: Where the service's store is.
    """

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._begin = time.monotonic()

    def look(self) -> Sample:
        """Take one sample."""
        service = [self._stack.process]
        triton = self._triton()
        service_memory, triton_memory = _memory(service), _memory(triton)
        logs = [self._stack.service.log]
        if self._stack.triton is not None:
            logs.append(self._stack.triton.log)
        return Sample(
            at_s=round(time.monotonic() - self._begin, 2),
            service_pss_mib=service_memory[0],
            service_rss_mib=service_memory[1],
            service_fds=_sum(service, psutil.Process.num_fds),
            service_threads=_sum(service, psutil.Process.num_threads),
            triton_pss_mib=triton_memory[0],
            triton_rss_mib=triton_memory[1],
            triton_fds=_sum(triton, psutil.Process.num_fds),
            triton_threads=_sum(triton, psutil.Process.num_threads),
            shm_mib=_shared_mib([*service, *triton]),
            store_mib=_disk_mib((self._folder / "store").iterdir()),
            logs_mib=_disk_mib(logs),
        )

    @contextlib.contextmanager
    def every(self, interval_s: float, take: Callable[[Sample], None]) -> Iterator[None]:
        """Look again and again, in a thread, while the block runs.

        Args:
            interval_s: Between two looks.
            take: Is given each sample.
        """
        stop = threading.Event()
        failures: list[Exception] = []

        def run() -> None:
            try:
                while not stop.wait(interval_s):
                    take(self.look())
            except Exception as error:  # noqa: BLE001  raised where it is waited for
                failures.append(error)

        thread = threading.Thread(target=run, name="sampler")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failures:
            raise failures[0]

    def _triton(self) -> list[psutil.Process]:
        """The launcher, the server and the processes of its Python models."""
        if self._stack.triton is None:
            return []
        launcher = psutil.Process(self._stack.triton.pid)
        return [launcher, *launcher.children(recursive=True)]


def _memory(processes: Iterable[psutil.Process]) -> tuple[float, float]:
    """Return PSS and RSS in MiB."""
    found = [process.memory_full_info() for process in processes]
    pss, rss = sum(one.pss for one in found), sum(one.rss for one in found)
    return round(pss / _MIB, 2), round(rss / _MIB, 2)


def _sum(processes: Iterable[psutil.Process], count: Callable[[psutil.Process], int]) -> int:
    return sum(count(process) for process in processes)


def _shared_mib(processes: Iterable[psutil.Process]) -> float:
    # By who maps them: others on the machine use the same folder.
    paths = set()
    for process in processes:
        maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
        paths.update(line[line.index(_SHM) :] for line in maps.splitlines() if _SHM in line)
    return _disk_mib(Path(path) for path in paths)


def _disk_mib(files: Iterable[Path]) -> float:
    total = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # a log of the database comes and goes
            total += file.stat().st_blocks * 512
    return round(total / _MIB, 3)
