"""How fast this machine hands out memory: ``python -m tests.bench.first_touch BYTES``.

A virtual machine's memory may have to come from its host at the first touch, which takes ten times
as long as clearing a page. Touching memory in a process that ends leaves it with the system's free
pages, so that what is measured next meets memory that the machine already has.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numba
import numpy as np
from numpy.typing import NDArray
from tests.bench.lines import say
from tests.bench.processes import environment
from tests.paths import PROJECT

_PAGE_BYTES = 4096


def touch_ahead(size_bytes: int) -> None:
    """Touch so much memory in another process, and print how fast that went."""
    command = [sys.executable, "-m", "tests.bench.first_touch", str(size_bytes)]
    answer = subprocess.run(
        command, check=True, cwd=PROJECT, env=environment(), capture_output=True, text=True
    )
    print(answer.stdout, end="", flush=True)


@numba.njit
def _touch(pages: NDArray[np.uint8]) -> None:
    for place in range(0, len(pages), _PAGE_BYTES):
        pages[place] = 1


def _measure(size_bytes: int) -> None:
    _touch(np.empty(1, dtype=np.uint8))
    rates = []
    for _ in range(2):
        begin = time.perf_counter()
        pages = np.empty(size_bytes, dtype=np.uint8)
        _touch(pages)
        rates.append(size_bytes / (time.perf_counter() - begin) / 2**20)
        del pages
    say("first touch of memory", rates[0], "MiB/s", engine="the system", mib=size_bytes >> 20)
    say("second touch of memory", rates[1], "MiB/s", engine="the system", mib=size_bytes >> 20)


if __name__ == "__main__":
    _measure(int(sys.argv[1]))
