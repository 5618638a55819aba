"""The models that are served side by side, each with its own encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from slidekin_server.bundle import ModelBundle
from slidekin_server.encoding import (
    EncodedPatch,
    EncoderState,
    EncoderStatus,
    NetworkRuntime,
    PatchImage,
)


class ImageEncoder(Protocol):
    """Turns images into codes; in production, ``slidekin_server.encoding.Encoder``."""

    @property
    def status(self) -> EncoderStatus:
        """The result of the last canary check."""

    @property
    def runtimes(self) -> tuple[NetworkRuntime, ...]:
        """How the networks are served; empty until it is known."""

    async def encode(self, image: PatchImage, *, timeout_s: float | None = None) -> EncodedPatch:
        """Encode one image, waiting for a place in the queue."""


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model whose networks run behind an encoder."""

    bundle: ModelBundle
    encoder: ImageEncoder


class ServedModels:
    """Finds the model that a collection is bound to, and the one for new collections.

    Args:
        models: All served models; none if the service takes codes only.
        active: Returns the fingerprint of the model for new collections; not called without
            models.
    """

    def __init__(self, models: Sequence[ServedModel], active: Callable[[], str]) -> None:
        self._by_fingerprint = {model.bundle.fingerprint: model for model in models}
        self._active = active

    def find(self, fingerprint: str) -> ServedModel | None:
        """Return the model with a fingerprint; None if it is not served."""
        return self._by_fingerprint.get(fingerprint)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Fingerprints of all models; empty if none is served."""
        return tuple(self._by_fingerprint)

    def active(self) -> ServedModel | None:
        """Return the model for new collections; None if none is served."""
        return self._by_fingerprint[self._active()] if self._by_fingerprint else None

    def all(self) -> list[ServedModel]:
        """Return every model, the active one first."""
        active = self.active()
        others = [model for model in self._by_fingerprint.values() if model is not active]
        return others if active is None else [active, *others]


def encoders_ready(models: Sequence[ServedModel]) -> bool:
    """Whether every model was checked, and at least one can be used.

    A model that cannot be used does not affect the others; requests to its collections report it.
    """
    states = [model.encoder.status.state for model in models]
    return EncoderState.STARTING not in states and EncoderState.READY in states
