"""Patches that are being encoded, and the memory that their images take."""

from __future__ import annotations

import contextlib

from slidekin_server.admission.errors import DeadlinePassedError, Reason
from slidekin_server.admission.quota import Bounds, Quota
from slidekin_server.admission.ticket import Ticket
from slidekin_server.callers import Caller, Urgency
from slidekin_server.telemetry import Metrics


class InFlight:
    """Bounds the patches that have arrived and have no code yet. Belongs to one event loop.

    Interactive and bulk work each have these bounds for themselves, so that an ingest which has
    reached its bounds delays no search.

    Args:
        patches: How many patches.
        image_bytes: How many bytes of images.
        metrics: Where to tell.
    """

    def __init__(self, patches: Bounds, image_bytes: Bounds, metrics: Metrics) -> None:
        self._patches = {urgency: Quota(patches) for urgency in Urgency}
        self._bytes = {urgency: Quota(image_bytes) for urgency in Urgency}
        for urgency in Urgency:
            label = urgency.name.lower()
            patches_held, bytes_held = self._patches[urgency], self._bytes[urgency]
            metrics.patches_in_flight.labels(label).set_function(patches_held.held_in_all)
            metrics.images_in_flight_bytes.labels(label).set_function(bytes_held.held_in_all)

    def full(self, caller: Caller) -> Reason | None:
        """Return which bound a caller has reached; None if it has reached none."""
        for quotas, reason in (
            (self._patches, Reason.TOO_MANY_PATCHES),
            (self._bytes, Reason.TOO_MANY_BYTES),
        ):
            if quotas[caller.urgency].limit_in_the_way(caller.identity) is not None:
                return reason
        return None

    async def take(self, ticket: Ticket, *, patches: int, image_bytes: int) -> Held:
        """Wait for room for patches, and take it.

        Raises:
            DeadlinePassedError: There was no room before the call's deadline.
        """
        caller = ticket.caller
        parts = (
            (self._patches[caller.urgency], patches),
            (self._bytes[caller.urgency], image_bytes),
        )
        with contextlib.ExitStack() as taken:
            for quota, amount in parts:
                try:
                    got = await quota.wait(caller.identity, amount, until=ticket.deadline)
                except TimeoutError:
                    raise DeadlinePassedError("there was room for more of its patches") from None
                taken.callback(quota.give_back, caller.identity, got)
            return Held(taken.pop_all())


class Held:
    """Room that was taken."""

    def __init__(self, taken: contextlib.ExitStack) -> None:
        self._taken = taken

    def give_back(self) -> None:
        """Give it back; a second time does nothing."""
        self._taken.close()

    def ended(self, _: object) -> None:
        """Give it back at the end of a task."""
        self.give_back()
