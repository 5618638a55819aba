"""The models that are served side by side, each behind encoders of its own."""

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
    """What turns images into codes; ``slidekin_server.encoding.Encoder`` in production."""

    @property
    def status(self) -> EncoderStatus:
        """What the last canary check found."""

    @property
    def runtimes(self) -> tuple[NetworkRuntime, ...]:
        """How the networks are served; empty before it is known."""

    async def encode(self, image: PatchImage, *, timeout_s: float | None = None) -> EncodedPatch:
        """Encode one image, waiting for a place in the queue."""


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model whose networks run behind an encoder."""

    bundle: ModelBundle
    encoder: ImageEncoder


class ServedModels:
    """Finds the model that a collection is bound to, and the one that new collections take.

    Args:
        models: All that are served; none where the service takes codes only.
        active: Gives the fingerprint of the one that new collections take; not asked without
            models.
    """

    def __init__(self, models: Sequence[ServedModel], active: Callable[[], str]) -> None:
        self._by_fingerprint = {model.bundle.fingerprint: model for model in models}
        self._active = active

    def find(self, fingerprint: str) -> ServedModel | None:
        """Return the model of a fingerprint; None where it is not served."""
        return self._by_fingerprint.get(fingerprint)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of all models; empty where none is served at all."""
        return tuple(self._by_fingerprint)

    def active(self) -> ServedModel | None:
        """Return the model that new collections take; None where none is served at all."""
        return self._by_fingerprint[self._active()] if self._by_fingerprint else None

    def all(self) -> list[ServedModel]:
        """Return every model, the active one first."""
        active = self.active()
        others = [model for model in self._by_fingerprint.values() if model is not active]
        return others if active is None else [active, *others]


def encoders_ready(models: Sequence[ServedModel]) -> bool:
    """Whether every model was asked for, and one at least can be used.

    One that cannot stops nobody who needs another; collections bound to it say so themselves.
    """
    states = [model.encoder.status.state for model in models]
    return EncoderState.STARTING not in states and EncoderState.READY in states
