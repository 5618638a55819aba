"""Fair turns at a place that serves a bounded number of requests at once, such as Triton."""

from __future__ import annotations

import asyncio
import time

from slidekin_server.admission.errors import DeadlinePassedError, Reason, RefusedError
from slidekin_server.admission.line import FairLine
from slidekin_server.admission.pace import Pace
from slidekin_server.admission.ticket import Ticket, current_ticket
from slidekin_server.callers import Urgency
from slidekin_server.telemetry import Metrics

# The estimate is a mean: turns that take somewhat longer must still end in time.
_SAFETY = 1.25
# Bulk work under way at once may take about this long. Whoever comes next waits for all of it,
# since nothing under way is stopped.
_BULK_AHEAD_S = 0.5
# One at work and one to follow it, however slow the place is.
_LEAST_BULK = 2


class Turn:
    """A turn in use; call ``end`` once, when the work is done."""

    def __init__(self, turns: Turns, urgency: Urgency, before: int) -> None:
        self._turns = turns
        self._urgency = urgency
        self._before = before
        self._began = time.monotonic()

    def end(self) -> None:
        """Pass the turn on, and note how long it took."""
        taken_s = time.monotonic() - self._began
        self._turns.ended(self._urgency, taken_s / (self._before + 1))

    def give_back(self) -> None:
        """Pass the turn on unused."""
        self._turns.give_back(self._urgency)


class Turns:
    """Bounds the requests under way at one place, which serves them in about order of arrival.

    Bulk work gets only as many turns as take half a second in all (but at least two), because
    interactive work, even with a free turn, waits for what the place has begun. Belongs to one
    event loop.

    Args:
        stage: Name of the place, for metrics and messages.
        at_once: Turns in use at the same time.
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
        """Estimate how long a new request would wait for a turn; 0 if one is free."""
        if self._may_begin(ticket.caller.urgency):
            return 0.0
        return (self._line.ahead(ticket) + 1) * self._pace.mean_s

    async def take(self, ticket: Ticket | None = None) -> Turn:
        """Wait for a turn and take it.

        Args:
            ticket: The call it is for; None: the call under way.

        Raises:
            RefusedError: The turn would end after the call's deadline.
            DeadlinePassedError: No turn came before the call's deadline.
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
        """Whether a request that comes now finds a free turn."""
        if self._in_use >= self._at_once or self._line.waiting(Urgency.INTERACTIVE):
            return False
        return urgency is Urgency.INTERACTIVE or (self._bulk_may_begin and not self._line)

    def _begin(self, ticket: Ticket) -> Turn:
        urgency, before = ticket.caller.urgency, self._in_use
        self._under_way[urgency] += 1
        return Turn(self, urgency, before)

    def _require_time(self, ticket: Ticket, wait_s: float) -> None:
        """Refuse a turn that would end too late to be of use.

        While nothing is under way nothing is refused, so that a wrong estimate corrects itself.
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
        """Pass on a turn that came just as its waiter gave up."""
        if turn.done() and not turn.cancelled() and not turn.exception():
            turn.result().give_back()

    def ended(self, urgency: Urgency, pace_s: float) -> None:
        """Take a turn back; ``Turn.end`` calls it."""
        self._pace.observe(pace_s)
        self.give_back(urgency)

    def give_back(self, urgency: Urgency) -> None:
        """Take back a turn that does not count for the pace."""
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
