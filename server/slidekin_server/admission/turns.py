"""So many at a time, in fair order, for work that an event loop waits for."""

from __future__ import annotations

import asyncio
import time

from slidekin_server.admission.errors import DeadlinePassedError, Reason, RefusedError
from slidekin_server.admission.line import FairLine
from slidekin_server.admission.pace import Pace
from slidekin_server.admission.ticket import Ticket, current_ticket
from slidekin_server.callers import Urgency
from slidekin_server.telemetry import Metrics

# The guess is a mean: turns that take somewhat longer must not be had in vain.
_SAFETY = 1.25
# How much of bulk's may be under way: so much that it takes about this long. What comes next waits
# for all of it, since nothing under way is stopped.
_BULK_AHEAD_S = 0.5
# One at work and one to follow it, however slow the place is.
_LEAST_BULK = 2


class Turn:
    """A turn that was had; ``end`` it once, when the work is done."""

    def __init__(self, turns: Turns, urgency: Urgency, before: int) -> None:
        self._turns = turns
        self._urgency = urgency
        self._before = before
        self._began = time.monotonic()

    def end(self) -> None:
        """Let the next one have it."""
        taken_s = time.monotonic() - self._began
        self._turns.ended(self._urgency, taken_s / (self._before + 1))

    def give_back(self) -> None:
        """Let the next one have it: nothing was done."""
        self._turns.give_back(self._urgency)


class Turns:
    """Bounds what is under way at one place, which works on it in about the order of its coming.

    Bulk has only so many of the turns as are done in half a second, at least two: what is
    interactive and finds a turn free still waits for what the place has begun. Belongs to one event
    loop.

    Args:
        stage: Name of the place, for metrics and messages.
        at_once: Turns had at the same time.
        bulk_every: See ``FairLine``.
        metrics: Where to count.
    """

    def __init__(self, stage: str, at_once: int, *, bulk_every: int, metrics: Metrics) -> None:
        self._stage = stage
        self._at_once = at_once
        self._under_way = dict.fromkeys(Urgency, 0)
        self._line: FairLine[asyncio.Future[Turn]] = FairLine(bulk_every=bulk_every)
        self._pace = Pace()
        """Of the place: what one turn adds to those that come after it."""
        self._metrics = metrics

    def expected_wait_s(self, ticket: Ticket) -> float:
        """Return how long a turn is likely to be waited for; 0 where there is one."""
        if self._may_begin(ticket.caller.urgency):
            return 0.0
        return (self._line.ahead(ticket) + 1) * self._pace.mean_s

    async def take(self, ticket: Ticket | None = None) -> Turn:
        """Have a turn, as soon as it comes.

        Args:
            ticket: Whom it is for; None: the call under way.

        Raises:
            RefusedError: It would end after the call's deadline.
            DeadlinePassedError: It has not come before the call's deadline.
        """
        ticket = ticket or current_ticket()
        ticket.require_wanted(f"its turn at the {self._stage}")
        self._require_time(ticket, self.expected_wait_s(ticket))
        if self._may_begin(ticket.caller.urgency):
            return self._begin(ticket)
        return await self._wait(ticket)

    @property
    def _in_use(self) -> int:
        return sum(self._under_way.values())

    @property
    def _bulk_limit(self) -> int:
        pace_s = self._pace.mean_s
        fitting = round(_BULK_AHEAD_S / pace_s) if pace_s else self._at_once
        return min(max(fitting, _LEAST_BULK), self._at_once)

    @property
    def _bulk_may_begin(self) -> bool:
        return self._under_way[Urgency.BULK] < self._bulk_limit

    def _may_begin(self, urgency: Urgency) -> bool:
        """Say whether there is a turn for somebody who comes now."""
        if self._in_use >= self._at_once or self._line.waiting(Urgency.INTERACTIVE):
            return False
        return urgency is Urgency.INTERACTIVE or (self._bulk_may_begin and not self._line)

    def _begin(self, ticket: Ticket) -> Turn:
        urgency, before = ticket.caller.urgency, self._in_use
        self._under_way[urgency] += 1
        return Turn(self, urgency, before)

    def _require_time(self, ticket: Ticket, wait_s: float) -> None:
        """Refuse a turn that would not end in time: it would be had for nobody.

        Where nothing is under way nobody is refused, so that a guess that was wrong is mended.
        """
        left_s = ticket.time_left_s()
        if left_s is None or not self._in_use:
            return
        before = self._in_use - 1 if wait_s else self._in_use
        needed_s = wait_s + (before + 1) * self._pace.mean_s
        if _SAFETY * needed_s > left_s:
            raise RefusedError(
                Reason.OVERLOADED,
                f"a turn at the {self._stage} would end in about {needed_s:.1f} s, and the call's "
                f"deadline is in {left_s:.1f} s: come back later, or give the call more time",
                retry_after_s=wait_s or self._pace.mean_s,
            )

    async def _wait(self, ticket: Ticket) -> Turn:
        place = self._line.join(ticket, asyncio.get_running_loop().create_future())
        with self._metrics.waiting(self._stage, ticket.caller.urgency.name.lower()):
            try:
                async with asyncio.timeout_at(ticket.deadline):
                    return await place.what
            except TimeoutError:
                self._give_up(place.what)
                raise DeadlinePassedError(f"its turn at the {self._stage}") from None
            except BaseException:
                self._give_up(place.what)
                raise
            finally:
                self._line.leave(place)

    def _give_up(self, turn: asyncio.Future[Turn]) -> None:
        """Hand on a turn that came in the moment its waiter went away."""
        if turn.done() and not turn.cancelled() and not turn.exception():
            turn.result().give_back()

    def ended(self, urgency: Urgency, pace_s: float) -> None:
        """Take a turn back; ``Turn.end`` calls it."""
        self._pace.observe(pace_s)
        self.give_back(urgency)

    def give_back(self, urgency: Urgency) -> None:
        """Take a turn back that says nothing of how long one takes."""
        self._under_way[urgency] -= 1
        while self._in_use < self._at_once:
            place = self._line.next(bulk=self._bulk_may_begin)
            if place is None:
                return
            if place.what.done():
                continue
            try:
                self._require_time(place.ticket, 0.0)
            except RefusedError as error:
                place.what.set_exception(error)
            else:
                place.what.set_result(self._begin(place.ticket))
