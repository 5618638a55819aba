"""Structured logs without patient data.

A log line consists of a constant event and named values. Only values with known names pass: those
in `PLAIN_KEYS` unchanged, those in `HASHED_KEYS` as a short keyed hash, by which the lines of one
slide can be found without revealing whose it is. Everything else is dropped. Exceptions are logged
by type and place in the code, never by their message, which may name a slide.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

PLAIN_KEYS = frozenset({
    "address", "bundle", "canary_codes", "canary_texture_bits", "code", "collections", "count",
    "duration_s", "encoder_state", "event", "exception", "fingerprint", "frames", "host",
    "identity", "index_version", "k", "level", "logger", "method", "mode", "patches", "peer",
    "pid", "port", "problem", "reason", "request_id", "schema", "sequence", "signal", "size_bytes",
    "slide_number", "slides", "snapshot", "stage", "timestamp", "trace_id", "url",
    "version",
})  # fmt: skip
HASHED_KEYS = frozenset({"collection", "patient", "slide"})

_HASH_KEY = secrets.token_bytes(32)
"""New at every start, so that names cannot be guessed from hashes later."""

Event = MutableMapping[str, Any]
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def hashed(value: str) -> str:
    """Return a short keyed hash of a name; it stays the same until the service ends."""
    return hashlib.blake2b(value.encode(), key=_HASH_KEY, digest_size=6).hexdigest()


def harmless(values: Mapping[str, object]) -> dict[str, object]:
    """Return the named values that may be logged, hashed where necessary."""
    kept: dict[str, object] = {}
    for name, value in values.items():
        if name in HASHED_KEYS:
            kept[name] = hashed(str(value))
        elif name in PLAIN_KEYS:
            kept[name] = value
    return kept


def keep_patient_data_out(_logger: object, _method: str, event: Event) -> Event:
    """Processor: pass, hash or drop each value by its name."""
    # structlog's own names begin with an underscore; it removes them before writing the line.
    own = {key: value for key, value in event.items() if key.startswith("_")}
    return {**own, **harmless(event)}


def tell_exceptions_by_type(_logger: object, _method: str, event: Event) -> Event:
    """Processor: replace an exception by its type and its frames."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    elif isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0]:
        kind, _, trace = info
        event["exception"] = f"{kind.__module__}.{kind.__qualname__}"
        event["frames"] = [
            f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(trace)
        ]
    return event


def keep_first_line(_logger: object, _method: str, event: Event) -> Event:
    """Processor: keep the first line of other libraries' messages; asyncio quotes errors below."""
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to a stream; a line that cannot be written is only counted."""

    on_failure: Callable[[], None] | None = None

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802
        """Count a line that could not be written."""
        if self.on_failure is not None:
            self.on_failure()


def count_lost_lines(on_failure: Callable[[], None]) -> None:
    """Call ``on_failure`` for each line that cannot be written, for example to a full disk."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.on_failure = on_failure


def configure_logging(
    level: str, style: Literal["json", "console"], stream: TextIO | None = None
) -> None:
    """Set up logging for the process.

    Args:
        level: Lowest level that is logged: ``debug``, ``info``, ``warning`` or ``error``.
        style: One JSON object per line, or text for people.
        stream: The stream to write to; standard error if None.
    """
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tell_exceptions_by_type,
        keep_patient_data_out,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=stream.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # tests configure more than once
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, keep_first_line],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger. Events must be constant sentences; put what varies into named values."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
