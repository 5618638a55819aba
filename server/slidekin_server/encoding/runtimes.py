"""How Triton serves the networks: in which runtime and precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXACT = "fp32"
"""The precision of the published program."""
NETWORKS = ("vqvae", "texture")


@dataclass(frozen=True, slots=True)
class NetworkRuntime:
    """How one network is served."""

    role: str
    """``vqvae`` or ``texture``."""
    runtime: str
    """For example ``openvino``; empty if Triton does not say."""
    precision: str
    """``fp32``, ``bf16`` or ``fp16``; empty if Triton does not say."""


def inexact(runtimes: Sequence[NetworkRuntime]) -> list[NetworkRuntime]:
    """Return the networks that are not known to be served in fp32."""
    return [network for network in runtimes if network.precision != EXACT]
