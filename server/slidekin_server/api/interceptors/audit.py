"""Records every call in the audit log: who, from where, what, and how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from slidekin_server.access.audit import AuditLog
from slidekin_server.api.interceptors.layers import Call
from slidekin_server.api.interceptors.observer import ended_with
from slidekin_server.api.permissions import is_public
from slidekin_server.telemetry import noted

_NOTED = (
    "identity", "collection", "slide", "patient", "slides", "patches", "mode", "fingerprint",
    "index_version", "reason", "trace_id",
)  # fmt: skip
"""What is taken over of the call's notes."""


class AuditRecorder:
    """Writes an entry when a call has ended. Put it outside of what turns errors into statuses.

    Args:
        log: Takes the entries; None: nothing is recorded.
    """

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Record a call."""
        # Probes come every few seconds, from nobody, and learn nothing.
        if self._log is None or is_public(call.method):
            yield
            return
        peer = call.context.peer()
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            notes = noted()
            self._log.write(
                {
                    "method": call.method,
                    "peer": peer,
                    "code": ended_with(call.context, error).name,
                    **{name: notes.get(name) for name in _NOTED},
                }
            )


class AuditGuard:
    """Lets no call through that could not be recorded. Put it within what answers errors.

    Args:
        log: Says whether it could be; None: nothing is recorded.
    """

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Guard a call."""
        if self._log is not None and not is_public(call.method):
            self._log.check()
        yield
