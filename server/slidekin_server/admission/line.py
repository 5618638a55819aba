"""The order in which work is taken where there is more than can be done at once."""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from slidekin_server.admission.ticket import Ticket
from slidekin_server.callers import Urgency

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Place(Generic[_T]):
    """Something that waits."""

    ticket: Ticket
    what: _T
    left: bool = False
    """It waits no more."""


@dataclass(slots=True, eq=False)
class _Queue(Generic[_T]):
    """What waits for one identity: a heap by the number of its call, and how much of it lives."""

    heap: list[tuple[int, int, Place[_T]]] = field(default_factory=list)
    living: int = 0


class FairLine(Generic[_T]):
    """Everything that waits for one resource.

    - What is interactive goes first; of every ``bulk_every`` turns at which both wait, one is
      bulk's, so that neither waits for ever.
    - Identities of one urgency take turns, however much each of them has waiting.
    - Of one identity, the call that began first is served first: under load some calls are then
      answered in time, where in turns all would be late.

    Every method takes O(log n), where n waits for the same identity; ``ahead`` takes O(identities).
    Not safe to share between threads.
    """

    def __init__(self, *, bulk_every: int) -> None:
        self._bulk_every = bulk_every
        self._classes: dict[Urgency, OrderedDict[str, _Queue[_T]]] = {
            urgency: OrderedDict() for urgency in Urgency
        }
        self._waiting = dict.fromkeys(Urgency, 0)
        self._turns_since_bulk = 0
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return sum(self._waiting.values())

    def waiting(self, urgency: Urgency) -> int:
        """Return how much of an urgency waits."""
        return self._waiting[urgency]

    def join(self, ticket: Ticket, what: _T) -> Place[_T]:
        """Take a place at the end of the call's own queue."""
        place = Place(ticket, what)
        identities = self._classes[ticket.caller.urgency]
        queue = identities.setdefault(ticket.caller.identity, _Queue())
        heapq.heappush(queue.heap, (ticket.number, next(self._arrivals), place))
        queue.living += 1
        self._waiting[ticket.caller.urgency] += 1
        return place

    def leave(self, place: Place[_T]) -> None:
        """Give up a place; does nothing where it was served already."""
        if not place.left:
            self._take_out(place)

    def next(self, *, bulk: bool = True) -> Place[_T] | None:
        """Take out what comes next; None where nothing waits.

        Args:
            bulk: Whether it may be bulk's turn.
        """
        urgency = self._next_urgency(bulk=bulk)
        if urgency is None:
            return None
        identities = self._classes[urgency]
        identity = next(iter(identities))
        identities.move_to_end(identity)
        heap = identities[identity].heap
        while True:
            place = heapq.heappop(heap)[2]
            if not place.left:
                self._take_out(place)
                return place

    def ahead(self, ticket: Ticket) -> int:
        """Return how many turns pass before something that joins now would have its own."""
        caller = ticket.caller
        own = self._living(caller.urgency, caller.identity)
        turns = own + sum(
            min(queue.living, own + 1)
            for identity, queue in self._classes[caller.urgency].items()
            if identity != caller.identity
        )
        if caller.urgency is Urgency.INTERACTIVE:
            bulks = self._waiting[Urgency.BULK]
            return turns + min(bulks, turns // max(self._bulk_every - 1, 1))
        return turns + min(self._waiting[Urgency.INTERACTIVE], (turns + 1) * (self._bulk_every - 1))

    def _living(self, urgency: Urgency, identity: str) -> int:
        queue = self._classes[urgency].get(identity)
        return 0 if queue is None else queue.living

    def _next_urgency(self, *, bulk: bool) -> Urgency | None:
        interactive, bulks = (self._waiting[urgency] for urgency in Urgency)
        bulk = bulk and bulks > 0
        if not interactive:
            self._turns_since_bulk = 0
            return Urgency.BULK if bulk else None
        if not bulk:
            return Urgency.INTERACTIVE
        self._turns_since_bulk += 1
        if self._turns_since_bulk < self._bulk_every:
            return Urgency.INTERACTIVE
        self._turns_since_bulk = 0
        return Urgency.BULK

    def _take_out(self, place: Place[_T]) -> None:
        place.left = True
        caller = place.ticket.caller
        self._waiting[caller.urgency] -= 1
        identities = self._classes[caller.urgency]
        queue = identities[caller.identity]
        queue.living -= 1
        if not queue.living:
            del identities[caller.identity]
