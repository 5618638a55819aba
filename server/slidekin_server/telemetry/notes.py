"""Notes about a call, collected while it runs and reported at its end: in its log line and trace.

Any code that works for the call may add a note, under a name in the logs' allow-list. All tasks of
the call write to the same notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

_notes: ContextVar[dict[str, object]] = ContextVar("notes")


def open_notes() -> Mapping[str, object]:
    """Begin the notes of a call, in its own task; they are added to while it runs."""
    notes: dict[str, object] = {}
    _notes.set(notes)
    return notes


def note(**values: object) -> None:
    """Add notes to the current call; outside of a call, do nothing."""
    notes = _notes.get(None)
    if notes is not None:
        notes.update(values)


def noted() -> Mapping[str, object]:
    """Return the notes of the current call so far."""
    return _notes.get({})
