"""Which networks are served, and how the Triton that runs them is reached."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from slidekin_server.config.section import Positive, Seconds, Section


def _host_and_port(value: str) -> str:
    if not re.fullmatch(r"[^\s/]+:\d{1,5}", value):
        raise ValueError("must be HOST:PORT, without a scheme")
    return value


class Model(Section):
    """The models that are served."""

    bundle: Path = Path("model-bundle")
    store: Path | None = None
    allow_random_weights: bool = False


class Triton(Section):
    """How Triton is reached."""

    url: Annotated[str, AfterValidator(_host_and_port)] = "127.0.0.1:8001"
    max_in_flight: Positive = 16
    timeout_s: Seconds = 60.0
    canary_interval_s: Seconds = 300.0
    retry_interval_s: Seconds = 2.0
