"""Metrics and logs of the service: every name in one place."""

from .logs import configure_logging, get_logger
from .metrics import (
    ENCODER_STATES,
    Exposition,
    ExpositionError,
    Metrics,
    Stage,
    start_exposition,
)

__all__ = [
    "ENCODER_STATES",
    "Exposition",
    "ExpositionError",
    "Metrics",
    "Stage",
    "configure_logging",
    "get_logger",
    "start_exposition",
]
