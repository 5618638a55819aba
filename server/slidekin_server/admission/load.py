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

    def ahead_s(self) -> float:
        """Return how long a search that begins now waits for those before it."""
        return (
            sum(
                max(self._paces[method].mean_s - ticket.computed_s, 0.0)
                for ticket, method in self._open.items()
            )
            / self._threads
        )

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
