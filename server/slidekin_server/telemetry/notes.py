"""What is noted of a call while it runs, to be told once at its end: in its log line, in its trace.

Whoever learns something of the call notes it, under a name of the logs' allow-list; in whichever of
the call's tasks that is, all write to the same notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

_notes: ContextVar[dict[str, object]] = ContextVar("notes")


def open_notes() -> Mapping[str, object]:
    """Begin the notes of a call, in its own task; they fill while it runs."""
    notes: dict[str, object] = {}
    _notes.set(notes)
    return notes


def note(**values: object) -> None:
    """Note something of the call under way; outside of a call, nothing happens."""
    notes = _notes.get(None)
    if notes is not None:
        notes.update(values)


def noted() -> Mapping[str, object]:
    """What was noted so far of the call under way."""
    return _notes.get({})
