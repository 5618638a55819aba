"""What can go wrong between an image and its codes.

EncodingError
├─ ImageRefusedError          the image is not a valid patch: the caller must fix it
├─ EncoderUnavailableError    the encoders are away or gave a wrong canary: retry later
├─ EncoderBusyError           the encoders' queue is full: retry later
├─ EncoderTimeoutError        no answer in time
└─ EncoderFaultError          the encoders gave an invalid answer or refused our request: a bug
"""

from __future__ import annotations

from typing import ClassVar


class EncodingError(Exception):
    """Root of all errors of the encoders."""

    outcome: ClassVar[str]
    """Name in the metric of encoded patches."""


class ImageRefusedError(EncodingError):
    """The image cannot be encoded as a patch; says why, and what is accepted."""

    outcome = "refused"


class EncoderUnavailableError(EncodingError):
    """The encoders are away, or their canary is wrong."""

    outcome = "unavailable"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EncoderBusyError(EncodingError):
    """The encoders' own queue is full."""

    outcome = "busy"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EncoderTimeoutError(EncodingError):
    """No answer in time."""

    outcome = "timeout"


class EncoderFaultError(EncodingError):
    """The encoders refused a well-formed request, or gave an invalid answer."""

    outcome = "fault"
