"""`make soak` in a minute, and its verdict on leaks that are known.

A minute shows what every call leaves behind (a file, a thread, a stream that is not given back) and
memory that grows by megabytes a second. It cannot show what leaks slowly: much is still warming up,
so that the limits are wide. `make soak MINUTES=30` can.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.bench.goals import Run
from tests.load.stack import codes_stack
from tests.load.tally import OK
from tests.soak import report as page
from tests.soak.run import RATES, Soak, run
from tests.soak.sampling import Sample, Sampler
from tests.soak.trend import FULL_LIMITS, Limit, trends
from tests.triton_stack import why_no_triton

_FLAT = Sample(0, 300, 310, 40, 20, 2000, 2100, 200, 90, 16, 50, 1)


@pytest.mark.timeout(600)
@pytest.mark.skipif(why_no_triton() is not None, reason=str(why_no_triton()))
def test_a_minute_of_everything_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    report = run(tmp_path / "stack", Soak.short(40))
    assert not [trend for trend in report.trends if not trend.flat]
    assert not report.left_over
    outcomes = {kind: tally.outcomes for kind, tally in report.answered.tallies.items()}
    assert set(outcomes) == set(RATES)
    for kind in ("search", "add", "list"):
        assert outcomes[kind][OK] > 0
    # On a busy machine some are too late; none may fail otherwise.
    ends = {name.split()[0] for counted in outcomes.values() for name in counted}
    assert ends <= {OK, "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}

    said = Run(json.loads(line) for line in capsys.readouterr().out.splitlines())
    monkeypatch.setattr(page, "PLOTS", tmp_path)
    page.plot_samples(said)
    assert (tmp_path / "soak.svg").stat().st_size > 0
    assert page.verdicts(said).count("\n") == 1 + len(FULL_LIMITS)
    assert page.calls(said).count("\n") == 1 + len(RATES)


def test_what_is_flat_but_noisy_is_flat():
    noise = np.random.default_rng(1)
    samples = [
        replace(
            _FLAT,
            at_s=5.0 * place,
            service_pss_mib=300 + float(noise.normal(0, 8)),
            service_fds=40 + int(noise.integers(0, 20)),
        )
        for place in range(360)
    ]
    # One look amid something large.
    samples[200] = replace(samples[200], service_pss_mib=2000, service_fds=500)
    assert [trend.limit.measure for trend in trends(samples, FULL_LIMITS) if not trend.flat] == []


@pytest.mark.parametrize(
    ("measure", "a_minute"),
    [("service_pss_mib", 1.0), ("triton_rss_mib", 5.0), ("service_fds", 0.5),
     ("service_threads", 0.5), ("shm_mib", 0.1), ("store_mib", 0.5)],
)  # fmt: skip
def test_a_slow_leak_is_found_in_half_an_hour(measure: str, a_minute: float):
    noise = np.random.default_rng(2)
    samples = []
    for place in range(360):
        at_s = 5.0 * place
        value = getattr(_FLAT, measure) + a_minute * at_s / 60 + float(noise.normal(0, 0.5))
        samples.append(replace(_FLAT, at_s=at_s, **{measure: value}))
    (found,) = [trend for trend in trends(samples, FULL_LIMITS) if not trend.flat]
    assert found.limit.measure == measure
    assert found.per_hour == pytest.approx(60 * a_minute, rel=0.1)


def test_what_only_warms_up_is_flat():
    samples = [
        replace(_FLAT, at_s=5.0 * place, service_pss_mib=min(300, 100 + place * 2))
        for place in range(360)
    ]
    assert all(trend.flat for trend in trends(samples, FULL_LIMITS))


def test_too_few_samples_are_no_verdict():
    with pytest.raises(ValueError, match="ten are needed"):
        trends([replace(_FLAT, at_s=float(place)) for place in range(12)], FULL_LIMITS)


def test_samples_see_what_a_service_holds(tmp_path: Path):
    with codes_stack(tmp_path, 600) as stack:
        sampler = Sampler(stack, tmp_path)
        before = sampler.look()
        assert before.service_pss_mib > 10
        assert before.service_threads > 1
        assert before.store_mib > 0
        assert before.triton_fds == 0
        # Connections are open files of the service. So is one that it is just closing, such as
        # that of the probe that saw it ready: the least of a few looks leaves those out.
        idle_fds = min(_looks(sampler, lambda fds: len(fds) == 20))
        with stack.service.channel() as first, stack.service.channel() as second:
            for channel in (first, second):
                stub = channel.unary_unary("/slidekin.v1.AdminService/GetStatus")
                stub(b"", timeout=60)
            _looks(sampler, lambda fds: fds[-1] >= idle_fds + 2)
        _looks(sampler, lambda fds: fds[-1] <= idle_fds)


def _looks(sampler: Sampler, enough: Callable[[list[int]], bool]) -> list[int]:
    """Return the service's open files, look by look, until they are enough."""
    fds: list[int] = []
    done = threading.Event()

    def take(sample: Sample) -> None:
        if not done.is_set():
            fds.append(sample.service_fds)
            if enough(fds):
                done.set()

    with sampler.every(0.01, take):
        assert done.wait(60), fds[-20:]
    return fds


def test_a_limit_is_the_greater_of_both_kinds():
    limit = Limit("service_pss_mib", "memory", "MiB", absolute=16, relative=0.03)
    assert limit.of(100) == 16
    assert limit.of(1000) == 30
