"""Chooses the runtime of each network of a bundle, by the rules of ``slidekin_models``."""

from __future__ import annotations

from dataclasses import dataclass

from bundles import BundleFacts
from launch_errors import LaunchError
from models_code import AUTO, Machine, ModelError, choose_runtime

NETWORKS = ("vqvae", "texture")
__all__ = ["AUTO", "NETWORKS", "ServedRuntime", "choose_runtimes"]


@dataclass(frozen=True, slots=True)
class ServedRuntime:
    """How a network is served."""

    runtime: str
    precision: str


def choose_runtimes(
    bundle: BundleFacts, *, device: str, runtime: str, precision: str
) -> dict[str, ServedRuntime]:
    """Choose runtime and precision of each network; ``auto``: the fastest accepted ones.

    Raises:
        LaunchError: The request is unknown, or not accepted for the bundle's weights.
    """
    machine = Machine.this("cpu" if device == "cpu" else "cuda")
    try:
        return {
            network: ServedRuntime(
                *choose_runtime(
                    bundle.directory / network, machine, runtime=runtime, precision=precision
                )
            )
            for network in NETWORKS
        }
    except ModelError as error:
        raise LaunchError(str(error)) from error
