"""Which calls are accepted, and which are told to come back later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from slidekin_server.admission.errors import DrainingError, Reason, RefusedError
from slidekin_server.admission.in_flight import InFlight
from slidekin_server.admission.load import SearchLoad
from slidekin_server.admission.quota import Bounds, Quota
from slidekin_server.admission.ticket import Ticket
from slidekin_server.telemetry import Metrics

# The estimate leaves out what the event loop does for a call, and its errors do not cost the same:
# a refused call costs almost nothing, one that is answered too late costs all its work.
_SAFETY = 2.0
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """What the gate needs to know of a method."""

    method: str
    streams: bool = False
    """It stays open for as long as its caller likes."""
    searches: bool = False
    """Search threads work for it."""
    brings_patches: bool = False
    """Images may come with it."""


class Gate:
    """Admits calls that are within bounds and can be answered in time.

    Belongs to one event loop.

    Args:
        streams: How many streams may be open.
        calls: How many other calls may be under way.
        in_flight: Room for patches. A caller that has filled its share may open no more calls that
            bring patches. (Flow control slows its open streams down; they are not refused.)
        search_threads: Threads that search.
        max_wait_s: Longest time that a search may be expected to wait for others.
        metrics: Where to count.
    """

    def __init__(
        self,
        *,
        streams: Bounds,
        calls: Bounds,
        in_flight: InFlight,
        search_threads: int,
        max_wait_s: float,
        metrics: Metrics,
    ) -> None:
        self._streams = Quota(streams)
        self._calls = Quota(calls)
        self._in_flight = in_flight
        self._load = SearchLoad(search_threads)
        self._max_wait_s = max_wait_s
        self._metrics = metrics
        self._draining = False
        metrics.calls_admitted.labels("stream").set_function(self._streams.held_in_all)
        metrics.calls_admitted.labels("unary").set_function(self._calls.held_in_all)

    def drain(self) -> None:
        """Refuse every call from now on."""
        self._draining = True

    @contextlib.contextmanager
    def admitted(self, kind: Kind, ticket: Ticket) -> Iterator[None]:
        """Hold a place for a call while the block runs.

        Raises:
            RefusedError: The call is not accepted now.
        """
        quota = self._streams if kind.streams else self._calls
        try:
            self._require_place(kind, ticket, quota)
            self._require_time(kind, ticket)
        except RefusedError as error:
            self._metrics.admissions.labels(error.reason.value.lower()).inc()
            raise
        self._metrics.admissions.labels("admitted").inc()
        identity = ticket.caller.identity
        quota.take(identity)
        if kind.searches:
            self._load.begin(ticket, kind.method)
        answered = False
        try:
            yield
            answered = True
        finally:
            ticket.over = True
            quota.give_back(identity)
            if kind.searches:
                self._load.end(ticket, answered=answered)

    def _require_place(self, kind: Kind, ticket: Ticket, quota: Quota) -> None:
        if self._draining:
            raise DrainingError
        caller = ticket.caller
        limit = quota.limit_in_the_way(caller.identity)
        if limit is not None:
            reason, what = (
                (Reason.TOO_MANY_STREAMS, "streams are open")
                if kind.streams
                else (Reason.TOO_MANY_CALLS, "calls are under way")
            )
            whose = " of this caller" if quota.held(caller.identity) >= quota.bounds.each else ""
            raise RefusedError(
                reason,
                f"{limit} {what}{whose}, which is the limit; try again shortly",
                retry_after_s=_RETRY_S,
            )
        full = self._in_flight.full(caller) if kind.brings_patches else None
        if full is not None:
            what = "patches" if full is Reason.TOO_MANY_PATCHES else "bytes of images"
            raise RefusedError(
                full,
                f"as many {what} are under way as may be: open no more streams until those that "
                "are open have been served",
                retry_after_s=_RETRY_S,
            )

    def _require_time(self, kind: Kind, ticket: Ticket) -> None:
        identity = ticket.caller.identity
        ahead_s = self._load.ahead_s(identity, kind.method) if kind.searches else 0.0
        if not ahead_s:
            return
        left_s = ticket.time_left_s()
        needed_s = _SAFETY * ahead_s + self._load.own_s(kind.method)
        allowed_s = self._max_wait_s if left_s is None else min(left_s, self._max_wait_s)
        if needed_s > allowed_s:
            raise RefusedError(
                Reason.OVERLOADED,
                f"the searches before this one take about {ahead_s:.1f} s, which is too long for "
                "it: come back later, or give the call more time",
                retry_after_s=ahead_s,
            )
