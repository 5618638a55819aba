"""How a client reaches its service: time-outs, repeats, encryption."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long calls may take, their retries included, in seconds."""

    unary_s: float = 30.0
    """Small questions: everything without pixels."""
    search_s: float = 1800.0
    """One search, from its first message to its ranking: 150 patches take minutes where networks
    run on a CPU. Reading the slide is not counted until the first patch travels."""
    add_slide_s: float = 1800.0
    """Adding one slide, from its first message until it is on disk."""
    export_s: float = 3600.0
    """A whole export."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after which pauses, a call is made again that was not taken.

    Only calls that may be repeated are: reads, searches, and what is idempotent by name. The
    pause before attempt n is drawn between 0 and
    ``min(max_backoff_s, initial_backoff_s * 2 ** (n - 1))``, on top of what the service asked for;
    no pause outlasts the call's time-out.
    """

    attempts: int = 5
    """Attempts in all, where nobody answers. 1: never again, whatever the reason."""
    refusals: int = 30
    """Refusals with a time to come back that are put up with: under load, or while a service
    stops, waiting helps, for as long as the call's time-out."""
    initial_backoff_s: float = 0.2
    """Greatest pause before the second attempt."""
    max_backoff_s: float = 5.0
    """Greatest pause of all."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Encrypted transport. Files are read when the client is made."""

    ca_file: Path | None = None
    """Certificates (PEM) of those who may vouch for the service. None: the system's."""
    certificate_file: Path | None = None
    """The client's own certificate chain (PEM), where the service asks for one."""
    key_file: Path | None = None
    """The private key (PEM) of that certificate."""
    server_name: str | None = None
    """Name the service's certificate is made out to, where it differs from the target's."""
