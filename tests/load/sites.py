"""Sites that put a load on a service, each a process of its own beside the service's."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import psutil
from tests.bench.processes import environment
from tests.load.generator import kept_its_rate
from tests.load.requests import Site
from tests.load.tally import Tally
from tests.paths import PROJECT

_HEAD_START_S = 0.2
"""Time for every site to have read what it is to do."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a site is to ask."""

    rates: Mapping[str, float]
    """Calls a second of each kind."""
    patience_s: Mapping[str, float]
    """How long a caller of each kind waits."""
    seconds: float
    """How long calls go on to start."""
    settle_s: float
    """From when on they count."""
    seed: int


@dataclass(frozen=True)
class Answered:
    """What came of one site's load."""

    tallies: Mapping[str, Tally]
    cpu_share: float
    """Of one processor, that the generator took."""

    @property
    def valid(self) -> bool:
        """Whether the generator started its calls when they were due."""
        return all(kept_its_rate(tally) for tally in self.tallies.values())

    @property
    def lag_p99_ms(self) -> float:
        """The latest it was, of 99 calls in 100 of the kind that was latest."""
        return max(
            tally.lag_us.get_value_at_percentile(99) / 1000 for tally in self.tallies.values()
        )


class SiteProcess:
    """The process of one site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        command = [sys.executable, "-m", "tests.load.site_process", json.dumps(asdict(site))]
        self._process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def begin(self, load: Load, start_at: float) -> None:
        """Have the load put on from then on, by ``time.monotonic``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**asdict(load), "start_at": start_at}) + "\n")
        self._process.stdin.flush()

    def result(self) -> Answered:
        """Wait for the end of the load."""
        line = self._read()
        tallies = {kind: Tally.from_json(values) for kind, values in line["tallies"].items()}
        return Answered(tallies, line["cpu_s"] / line["wall_s"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the site {self.site.name} ended with {self._process.wait()}")
        values: dict[str, Any] = json.loads(line)
        return values


@dataclass(frozen=True)
class Together:
    """What came of the loads of several sites at the same time."""

    answered: tuple[Answered, ...]
    """In the order of the sites."""
    service_cpu_share: float
    """Of one processor, that the service took."""

    @property
    def valid(self) -> bool:
        """Whether every generator kept its rate."""
        return all(one.valid for one in self.answered)


def put_on(sites: Mapping[SiteProcess, Load], service: psutil.Process | None = None) -> Together:
    """Put loads on from the same moment and wait for all of them."""
    start_at = time.monotonic() + _HEAD_START_S
    for site, load in sites.items():
        site.begin(load, start_at)
    with _cpu_of(service) as share:
        answered = tuple(site.result() for site in sites)
    return Together(answered, share[0])


@contextlib.contextmanager
def _cpu_of(process: psutil.Process | None) -> Iterator[list[float]]:
    share = [0.0]
    if process is None:
        yield share
        return
    begin, before = time.monotonic(), sum(process.cpu_times()[:2])
    yield share
    share[0] = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begin)
