"""Who a call is from, for everything that works on it.

Set once at the border of the service; read where work of several callers competes. A context
variable, since tasks that a call starts inherit it.
"""

from __future__ import annotations

import enum
from contextvars import ContextVar
from dataclasses import dataclass


class Urgency(enum.IntEnum):
    """Which work goes first where both wait; smaller is sooner."""

    INTERACTIVE = 0
    """Somebody waits for the answer: searches, reads."""
    BULK = 1
    """Nobody looks at the clock: ingest, export, reindex."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and how urgently."""

    identity: str = "anonymous"
    """``anonymous``, or kind and name: ``key:lab``, ``cert:scanner-3``, ``oidc:jane``."""
    urgency: Urgency = Urgency.INTERACTIVE


_current: ContextVar[Caller] = ContextVar("caller")
_UNKNOWN = Caller()


def current_caller() -> Caller:
    """Return who the work under way is for."""
    return _current.get(_UNKNOWN)


def set_caller(caller: Caller) -> None:
    """State who the work is for, until the task that states it ends."""
    _current.set(caller)
