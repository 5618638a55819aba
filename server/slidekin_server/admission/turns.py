"""So many at a time, in fair order, for work that an event loop waits for."""

from __future__ import annotations

import asyncio
import time

from slidekin_server.admission.errors import DeadlinePassedError, Reason, RefusedError
from slidekin_server.admission.line import FairLine
from slidekin_server.admission.pace import Pace
from slidekin_server.admission.ticket import Ticket, current_ticket
from slidekin_server.telemetry import Metrics


class Turn:
    """A turn that was had; ``end`` it once, when the work is done."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._began = time.monotonic()

    def end(self) -> None:
        """Let the next one have it."""
        self._turns.ended(time.monotonic() - self._began)


class Turns:
    """Bounds what is under way at one place. Belongs to one event loop.

    Args:
        stage: Name of the place, for metrics and messages.
        at_once: Turns had at the same time.
        bulk_every: See ``FairLine``.
        metrics: Where to count.
    """

    def __init__(self, stage: str, at_once: int, *, bulk_every: int, metrics: Metrics) -> None:
        self._stage = stage
        self._free = at_once
        self._at_once = at_once
        self._line: FairLine[asyncio.Future[Turn]] = FairLine(bulk_every=bulk_every)
        self._pace = Pace()
        self._metrics = metrics

    def expected_wait_s(self, ticket: Ticket) -> float:
        """Return how long a turn is likely to be waited for; 0 where nobody waits."""
        if not self._line:
            return 0.0
        return (self._line.ahead(ticket) + 1) * self._pace.mean_s / self._at_once

    async def take(self, ticket: Ticket | None = None) -> Turn:
        """Have a turn, as soon as it comes.

        Args:
            ticket: Whom it is for; None: the call under way.

        Raises:
            RefusedError: It would come after the call's deadline.
            DeadlinePassedError: It has not come before the call's deadline.
        """
        ticket = ticket or current_ticket()
        ticket.require_wanted(f"its turn at the {self._stage}")
        if self._free and not self._line:
            self._free -= 1
            return Turn(self)
        wait_s, left_s = self.expected_wait_s(ticket), ticket.time_left_s()
        if left_s is not None and wait_s > left_s:
            raise RefusedError(
                Reason.OVERLOADED,
                f"a turn at the {self._stage} comes in about {wait_s:.1f} s, and the call's "
                f"deadline in {left_s:.1f} s: come back later, or give the call more time",
                retry_after_s=wait_s,
            )
        return await self._wait(ticket)

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
        if turn.done() and not turn.cancelled():
            self._hand_on()

    def ended(self, seconds: float) -> None:
        """Take a turn back; ``Turn.end`` calls it."""
        self._pace.observe(seconds)
        self._hand_on()

    def _hand_on(self) -> None:
        while (place := self._line.next()) is not None:
            if not place.what.done():
                place.what.set_result(Turn(self))
                return
        self._free += 1
