"""How much searching is promised and not yet done."""

from __future__ import annotations

from collections import defaultdict

from slidekin_server.admission.pace import Pace
from slidekin_server.admission.ticket import Ticket


class SearchLoad:
    """Tells how long the search threads have to do for the searches that are open.

    The guess for one that is open is what calls of its method took lately, less what threads have
    spent on it already. Time at the encoders does not count: they have a line of their own.

    Args:
        threads: Threads that search.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._paces: defaultdict[str, Pace] = defaultdict(Pace)
        self._open: dict[Ticket, str] = {}

    def ahead_s(self, identity: str, method: str) -> float:
        """Return how long a search that begins now waits for those before it.

        Identities take turns: of another one's searches so much comes first as the caller has to be
        done for itself, and no more, however much they are.
        """
        left: defaultdict[str, float] = defaultdict(float)
        for ticket, other in self._open.items():
            left_s = max(self._paces[other].mean_s - ticket.computed_s, 0.0)
            left[ticket.caller.identity] += left_s
        before_s = left.pop(identity, 0.0)
        own_s = before_s + self.own_s(method)
        return (before_s + sum(min(other_s, own_s) for other_s in left.values())) / self._threads

    def own_s(self, method: str) -> float:
        """Return what a search itself is likely to take, alone."""
        return self._paces[method].mean_s

    def begin(self, ticket: Ticket, method: str) -> None:
        """Count a search that was admitted."""
        self._open[ticket] = method

    def end(self, ticket: Ticket, *, answered: bool) -> None:
        """Count a search that has ended; one that failed says nothing of what the others take."""
        method = self._open.pop(ticket)
        if answered:
            self._paces[method].observe(ticket.computed_s)
