"""What the service tells of itself: metrics, logs, traces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from slidekin_server.config.section import Host, Port, Section


def _collector(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+:\d{1,5}", value):
        raise ValueError("must be http://HOST:PORT, or https:// for TLS")
    return value


class MetricsSettings(Section):
    """Where Prometheus reads the metrics."""

    host: Host = "127.0.0.1"
    port: Port = 9464


class Logging(Section):
    """What is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Tracing(Section):
    """Where traces go, and of how many calls."""

    endpoint: Annotated[str, AfterValidator(_collector)] | None = None
    ca_file: Path | None = None
    sampling_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
