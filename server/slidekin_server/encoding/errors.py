"""What can go wrong between an image and its codes.

EncodingError
├─ ImageRefusedError          the image is no patch: the caller's to cure
├─ EncoderUnavailableError    the encoders are away or not to be trusted: come back later
├─ EncoderBusyError           the encoders' queue is full: come back later
├─ EncoderTimeoutError        no answer in time
└─ EncoderFaultError          the encoders answered nonsense or refused our request: a bug
"""

from __future__ import annotations

from typing import ClassVar


class EncodingError(Exception):
    """Root of all errors of the encoders."""

    outcome: ClassVar[str]
    """Name in the metric of encoded patches."""


class ImageRefusedError(EncodingError):
    """The image is no patch that can be encoded; says why and what would be."""

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
    """The encoders refused a well-formed request, or answered what no encoder may."""

    outcome = "fault"
