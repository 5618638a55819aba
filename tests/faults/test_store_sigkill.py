"""A service killed at any moment loses no acknowledged slide and keeps no half one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.unit.server.store_conformance import COLLECTION, assert_same_codes, made_codes

from slidekin_server.storage import SqliteStore

ROUNDS = 12
PATCHES = 60

# Two threads add slides and replace each twice; they say so once a change is acknowledged.
CHILD = """
import itertools, sys, threading
from pathlib import Path
from slidekin_server.storage import SlideFacts, SqliteStore
from tests.unit.server.store_conformance import made_codes

store = SqliteStore.open(Path(sys.argv[1]))

def add(worker, first):
    for step in itertools.count(first):
        facts = SlideFacts(f"{worker}-{step // 3}", "p", str(step))
        store.add_slide("colon", facts, made_codes(step, 60), replace=True)
        sys.stdout.write(f"{worker} {step}\\n")
        sys.stdout.flush()

for worker, first in enumerate(sys.argv[2:]):
    threading.Thread(target=add, args=(worker, int(first))).start()
"""


def killed_after(folder: Path, firsts: list[int], delay_s: float) -> list[int]:
    """Run a child until ``delay_s`` after it first spoke; return the last step each thread said."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), *map(str, firsts)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    said = child.stdout.readline()
    threading.Timer(delay_s, child.kill).start()
    said += child.stdout.read()
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    last = [first - 1 for first in firsts]
    for line in said.decode().split("\n")[:-1]:  # a line that was cut says nothing
        worker, step = map(int, line.split())
        assert step == last[worker] + 1
        last[worker] = step
    return last


@pytest.mark.parametrize("seed", [20260101])
def test_sigkill_loses_no_acknowledged_slide(tmp_path: Path, seed: int):
    moments = random.Random(seed)
    with SqliteStore.open(tmp_path) as store:
        store.create_collection(COLLECTION)
    firsts = [0, 0]
    for round_number in range(ROUNDS):
        where = f"seed {seed}, round {round_number}"
        last = killed_after(tmp_path, firsts, moments.uniform(0, 0.3))
        with SqliteStore.open(tmp_path) as store:
            held = {}
            for slide in store.iter_slides("colon"):
                step = int(slide.record.facts.label)
                assert_same_codes(slide.codes, made_codes(step, PATCHES))
                held[slide.record.facts.slide_id] = step
        for worker in range(2):
            steps = [held.pop(f"{worker}-{n}", None) for n in range(last[worker] // 3 + 1)]
            # All that was acknowledged is there; of the step on its way nothing, or all of it.
            one_more = held.pop(f"{worker}-{len(steps)}", None)
            found = [*steps, *([] if one_more is None else [one_more])]
            ends = [
                [min(3 * n + 2, end) for n in range(end // 3 + 1)]
                for end in (last[worker], last[worker] + 1)
            ]
            assert found in ends, f"{where}: thread {worker} said {last[worker]}, held {found}"
            if found:  # else it was killed before it began
                firsts[worker] = found[-1] + 1
        assert not held, f"{where}: {held} came from nowhere"
