"""A client that stops half-way: ``python -m tests.chaos.stalled TARGET CA CERTIFICATE KEY``.

It opens streams, sends half of what it announced, says so on standard output, and is then frozen or
killed by whoever started it.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import grpc
from tests.chaos.asked import CODES
from tests.service_calls import Calls, random_codes

STREAMS = 6
"""Of each kind."""
_PATCHES = 40
_MESSAGES = 4
"""Sent before it stalls, of nine or ten."""
_FIRST_SEED = 10**9

_M = TypeVar("_M")


def main() -> None:
    target, *files = sys.argv[1:]
    ca, certificate, key = (Path(file).read_bytes() for file in files)
    channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, certificate))
    calls = Calls(channel, CODES, timeout_s=600)
    half_way = threading.Barrier(2 * STREAMS + 1)

    def half(messages: Iterator[_M]) -> Iterator[_M]:
        yield from itertools.islice(messages, _MESSAGES)
        half_way.wait()
        threading.Event().wait()

    open_calls: list[object] = []
    for number in range(STREAMS):
        codes = random_codes(_FIRST_SEED + number, _PATCHES)
        adding = half(calls.additions(f"stalled-{number}", codes, label=str(number)))
        open_calls.append(calls.slides.AddSlide.future(adding, timeout=calls.timeout_s))
        asking = half(calls.questions(codes))
        open_calls.append(calls.searches.SearchSlide(asking, timeout=calls.timeout_s))
    half_way.wait()
    print("stalled", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
