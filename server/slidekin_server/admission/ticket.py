"""A call under way, as those see it who work for it: whose it is, its deadline, its place in line.

A context variable, as the caller is: what a call starts knows the call it works for.
"""

from __future__ import annotations

import itertools
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from slidekin_server.admission.errors import DeadlinePassedError
from slidekin_server.callers import Caller, current_caller

_numbers = itertools.count()


@dataclass(slots=True, eq=False)
class Ticket:
    """One call's, or that of work which the service does for itself."""

    caller: Caller
    deadline: float | None = None
    """In monotonic seconds, as event loops count; None: there is none."""
    number: int = field(default_factory=lambda: next(_numbers))
    """Calls of one identity are served in this order: first come, first finished."""
    over: bool = False
    """The call has ended, whatever of its work is still under way. Threads look at it too."""
    computed_s: float = 0.0
    """Time that threads have spent on it."""

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for what the call's work brings."""
        return not (self.over or (self.deadline is not None and time.monotonic() >= self.deadline))

    def time_left_s(self) -> float | None:
        """Return what is left until the deadline; None: no end."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def require_wanted(self, doing: str) -> None:
        """Stop work that nobody waits for.

        Raises:
            DeadlinePassedError: The call has ended, or its deadline has passed.
        """
        if not self.wanted:
            raise DeadlinePassedError(doing)


_current: ContextVar[Ticket] = ContextVar("ticket")


def current_ticket() -> Ticket:
    """Return the ticket of the call that the work under way is for; a new one outside of calls."""
    return _current.get(None) or Ticket(current_caller())


def set_ticket(ticket: Ticket) -> None:
    """State which call the work is for, until the task that states it ends."""
    _current.set(ticket)
