"""A run: load all the time, one fault after the other, and a look at everything after each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.asked import AskedBySdk, ImagesBySdk
from tests.chaos.calls import CallLog, CallRecord, Kind
from tests.chaos.fault import Fault
from tests.chaos.load import Load
from tests.chaos.look import Look
from tests.chaos.stack import Stack
from tests.faults.history import History
from tests.faults.model import GENERATION, Model

from slidekin import SlidekinError

_CALM_S = (2.0, 4.0)
"""Between two faults: at least, at most."""
_RECOVERY_LIMIT_S = 90.0
_STEP_S = 0.05


@dataclass(frozen=True)
class Happened:
    """One fault of a run; moments are seconds since the run began."""

    name: str
    detail: str
    injected_s: float
    healed_s: float
    """When whoever runs the service began to mend it."""
    recovery_s: Mapping[str, float | None]
    """From then to the first call that went well, by what it shows; None: not in time."""
    calls: int
    """That ended from the fault to the recovery."""
    failed: Mapping[str, int]
    """Of these: by code and reason."""


@dataclass
class Outcome:
    """What came of a run."""

    began_s: float = 0.0
    """Monotonic."""
    seconds: float = 0.0
    happened: list[Happened] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Faults that could not be tried, and why."""
    violations: list[str] = field(default_factory=list)
    records: Sequence[CallRecord] = ()
    slides_at_the_end: int = 0
    patches_at_the_end: int = 0


class Run:
    """One run over a stack that is up.

    Args:
        folder: For its history.
        seed: Of what the clients ask, which fault comes when and for how long.
        faults: Kinds of faults: each comes once, in an order of chance, before any comes again.
        tell: Told what happens, for people.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        faults: Sequence[type[Fault]],
        *,
        tell: Callable[[str], None],
    ) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._kinds = faults
        self._tell = tell
        self._history = History(folder / "history.jsonl")
        self._log = CallLog()
        self._calm_since_s = 0.0
        self._deck: list[type[Fault]] = []
        self.model = Model()
        self.model.settle({GENERATION: 0})
        self.outcome = Outcome()

    def run(self, stack: Stack, seconds: float) -> Outcome:
        """Let things break for so long, and until each kind of fault has come once."""
        outcome = self.outcome
        possible: list[type[Fault]] = []
        for kind in self._kinds:
            reason = kind.why_not(stack)
            if reason is None:
                possible.append(kind)
            else:
                outcome.left_out[kind.name] = reason
        with stack.client() as client:
            codes = AskedBySdk(client, self._log)
            images = None if stack.triton is None else ImagesBySdk(client, self._log)
            codes.create()
            if images is not None:
                images.create()
            load = Load(codes, images, self.model, self._history, seed=str(self._seed))
            look = Look(stack, self.model, images=images is not None)
            outcome.began_s = time.monotonic()
            load.start()
            try:
                self._wait_recovered(load, outcome.began_s)
                self._calm_since_s = time.monotonic()
                self._break_things(stack, load, look, possible, seconds)
            finally:
                load.stop()
                outcome.seconds = time.monotonic() - outcome.began_s
                self._history.close()
            outcome.records = self._log.records
            outcome.violations += load.faults
            self._judge_calls()
            self._look_at_the_end(stack, look)
            self._judge_log(stack)
        return outcome

    def _break_things(
        self,
        stack: Stack,
        load: Load,
        look: Look,
        kinds: Sequence[type[Fault]],
        seconds: float,
    ) -> None:
        end_s = self.outcome.began_s + seconds
        while time.monotonic() < end_s or len(self.outcome.happened) < len(kinds):
            self._watch(stack, self._chance.uniform(*_CALM_S))
            if not self._deck:
                self._deck = self._chance.sample(kinds, len(kinds))
            self._one(stack, load, look, self._deck.pop()())
        self._watch(stack, _CALM_S[0])

    def _one(self, stack: Stack, load: Load, look: Look, fault: Fault) -> None:
        """Break one thing, mend it, wait until all works again, look at everything."""
        since_tick = self.model.tick()
        injected_s = time.monotonic()
        detail = ""
        try:
            detail = fault.inject(stack, self._chance)
            time.sleep(self._chance.uniform(*fault.hold_s))
        except Exception as error:  # noqa: BLE001  told with all other violations
            self._violation(f"{fault.name}: {error!r}")
        finally:
            healed_s = time.monotonic()
            self._heal(stack, fault)
        recovery_s = self._wait_recovered(load, healed_s)
        self._calm_since_s = time.monotonic()
        calls = [r for r in self._log.records if injected_s < r.end_s <= self._calm_since_s]
        failed: dict[str, int] = {}
        for record in calls:
            if record.answered:
                continue
            told = f"{record.code} {record.reason}".strip()
            failed[told] = failed.get(told, 0) + 1
            is_spared = record.kind in fault.spares and not record.overload
            if is_spared and record.start_s > injected_s:
                self._violation(
                    f"{fault.name} ({detail}) is to spare what failed: {record.kind} with {told}: "
                    f"{record.message}"
                )
        for shown, took_s in recovery_s.items():
            if took_s is None:
                self._violation(f"{fault.name}: no {shown} within {_RECOVERY_LIMIT_S:.0f} s")
        began_s = self.outcome.began_s
        happened = Happened(
            name=fault.name,
            detail=detail,
            injected_s=injected_s - began_s,
            healed_s=healed_s - began_s,
            recovery_s=recovery_s,
            calls=len(calls),
            failed=failed,
        )
        self.outcome.happened.append(happened)
        self._tell(describe(happened))
        try:
            violations = look.while_in_use()
        except SlidekinError as error:
            violations = [f"not everything could be read: {error!r}"]
        for violation in violations:
            self._violation(f"after {fault.name}: {violation}")
        for death in stack.died():
            self._violation(f"after {fault.name}: {death}")
        # No call that was open before this fault is open any more: none may take so long.
        self.model.forget(since_tick)

    def _heal(self, stack: Stack, fault: Fault) -> None:
        try:
            fault.heal(stack)
        except Exception as error:  # noqa: BLE001  told with all other violations
            self._violation(f"{fault.name}, not mended: {error!r}")

    def _watch(self, stack: Stack, seconds: float) -> None:
        """Let things be for a while: nothing may fail."""
        time.sleep(seconds)
        for record in self._log.records:
            is_failed = not record.answered and not record.overload
            if is_failed and record.start_s > self._calm_since_s:
                self._violation(
                    f"while nothing was broken, {record.kind} failed with {record.code} "
                    f"{record.reason}: {record.message}"
                )
        for death in stack.died():
            self._violation(death)

    def _wait_recovered(self, load: Load, since_s: float) -> dict[str, float | None]:
        """Wait until everything works; return how long that took, from a moment on."""
        recovery_s: dict[str, float | None] = dict.fromkeys(load.kinds)
        deadline_s = time.monotonic() + _RECOVERY_LIMIT_S
        while None in recovery_s.values() and time.monotonic() < deadline_s:
            for shown, kind in load.kinds.items():
                answer_s = self._log.first_answer_s(kind, since_s)
                if answer_s is not None:
                    recovery_s[shown] = answer_s - since_s
            time.sleep(_STEP_S)
        return recovery_s

    def _judge_calls(self) -> None:
        counts = dict.fromkeys(Kind, 0)
        for record in self.outcome.records:
            counts[record.kind] += record.code == "OK"
            objection = record.objection()
            if objection is not None:
                self._violation(objection)
        for kind in (Kind.INGEST, Kind.DELETE, Kind.SEARCH):
            if not counts[kind]:
                self._violation(f"no {kind} went well in the whole run")

    def _judge_log(self, stack: Stack) -> None:
        """No call may have met an error that nobody foresaw; the log says which one it was."""
        for line in stack.service.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"event": "incident"' in line:
                self._violation(f"the service logged {line}")

    def _look_at_the_end(self, stack: Stack, look: Look) -> None:
        """Nothing is under way and the service is a new one: what is there now, is there."""
        for death in stack.died():
            self._violation(death)
        stack.kill_service()
        stack.service.start()
        for violation in look.at_the_end():
            self._violation(f"at the end: {violation}")
        self.outcome.slides_at_the_end = look.slides
        self.outcome.patches_at_the_end = look.patches

    def _violation(self, what: str) -> None:
        if what not in self.outcome.violations:
            self.outcome.violations.append(what)
            self._tell(f"VIOLATION {what}")


def describe(happened: Happened) -> str:
    """One line for people."""
    recovery = ", ".join(
        f"{shown} {'never' if took_s is None else f'{took_s:.1f} s'}"
        for shown, took_s in happened.recovery_s.items()
    )
    failed = ", ".join(f"{count} x {what}" for what, count in sorted(happened.failed.items()))
    return (
        f"{happened.injected_s:6.1f} s  {happened.name} ({happened.detail}) for "
        f"{happened.healed_s - happened.injected_s:.1f} s; works again after: {recovery}; "
        f"{happened.calls} calls, failed: {failed or 'none'}"
    )
