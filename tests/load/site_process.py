"""One site's callers in a process of their own: ``python -m tests.load.site_process SITE``.

A line of JSON on standard input is a load to put on, a line on standard output what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
from typing import Any

from tests.load.arrivals import poisson
from tests.load.generator import Question, drive
from tests.load.requests import KINDS, Requests, Site


async def serve(site: Site) -> None:
    requests = Requests(site)
    # What lives as long as the process is not to be looked at amid a load.
    gc.collect()
    gc.freeze()
    try:
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            answer = await put_on(requests, json.loads(line))
            print(json.dumps(answer), flush=True)
    finally:
        await requests.close()


async def put_on(requests: Requests, load: dict[str, Any]) -> dict[str, Any]:
    rates, seconds = load["rates"], load["seconds"]
    questions = {
        kind: Question(KINDS[kind](requests), patience_s)
        for kind, patience_s in load["patience_s"].items()
    }
    driven = await drive(
        poisson(rates, seconds, load["seed"]),
        questions,
        seconds=seconds,
        settle_s=load["settle_s"],
        start_at=load["start_at"],
    )
    return {
        "tallies": {kind: tally.to_json() for kind, tally in driven.tallies.items()},
        "cpu_s": driven.cpu_s,
        "wall_s": driven.wall_s,
    }


if __name__ == "__main__":
    # Whoever started this ends it by closing its input, or by Ctrl-C for both.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(Site(**json.loads(sys.argv[1]))))
