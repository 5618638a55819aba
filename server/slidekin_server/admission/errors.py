"""Why work is not taken, or not gone on with.

AdmissionError
├─ RefusedError           not now: come back after a while
│  └─ DrainingError       the service is stopping: another one, or this one after its restart
├─ DeadlinePassedError    the caller has stopped waiting
└─ StreamIdleError        the caller neither sends nor reads
"""

from __future__ import annotations

import enum

_LEAST_RETRY_S, _MOST_RETRY_S = 0.1, 30.0
_DRAINING_RETRY_S = 2.0


class Reason(enum.Enum):
    """Why work was refused; also a label of a metric."""

    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    TOO_MANY_PATCHES = "TOO_MANY_PATCHES"
    TOO_MANY_BYTES = "TOO_MANY_BYTES"
    OVERLOADED = "OVERLOADED"
    """Its turn would come too late."""
    DRAINING = "DRAINING"


class AdmissionError(Exception):
    """Root of the errors of admission."""


class RefusedError(AdmissionError):
    """Work is refused for now.

    Args:
        reason: Why.
        message: The same for people, with the cure.
        retry_after_s: When it is worth while to come back; kept between 0.1 and 30 s.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = min(max(retry_after_s, _LEAST_RETRY_S), _MOST_RETRY_S)


class DrainingError(RefusedError):
    """The service is stopping."""

    def __init__(self) -> None:
        super().__init__(
            Reason.DRAINING,
            "the service is stopping: nothing new is taken, and what has not been acknowledged "
            "should be sent again once it is back, or to another one",
            retry_after_s=_DRAINING_RETRY_S,
        )


class DeadlinePassedError(AdmissionError):
    """The call's deadline has passed: no more work goes into it."""

    def __init__(self, doing: str) -> None:
        super().__init__(f"the call's deadline passed before {doing}")


class StreamIdleError(AdmissionError):
    """The other end of a stream has neither sent nor read for too long."""

    def __init__(self, waited_for: str, idle_s: float) -> None:
        super().__init__(
            f"{waited_for} within {idle_s:g} s: the stream is ended so that its place is free for "
            "others; open it again when there is something to send"
        )
