"""Incoming patches: from images or ready-made codes to codes of the collection's model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slidekin_server.archive.errors import (
    FingerprintMismatchError,
    InvalidArgumentError,
    ModelNotServedError,
    PreconditionError,
)
from slidekin_server.archive.names import collection_name
from slidekin_server.archive.served import ImageEncoder, ServedModels
from slidekin_server.encoding import EncodedPatch, ImageRefusedError, PatchImage, inexact
from slidekin_server.storage import CollectionRecord
from slidekin_server.values import PatchCodes


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One patch as it was received."""

    index: int
    """Position in its stream, from 0."""
    x_px: int
    """Left edge in level-0 pixels."""
    y_px: int
    """Top edge in level-0 pixels."""
    content: PatchImage | EncodedPatch


@dataclass(frozen=True, slots=True, eq=False)
class CodedPatch:
    """One patch with its code."""

    index: int
    x_px: int
    y_px: int
    code: EncodedPatch


class PatchSource:
    """Turns one stream's patches into codes, and refuses those that do not fit the collection.

    Args:
        collection: The collection that the codes are for.
        models: The models that are served.
        stated_fingerprint: Of the model that made the stream's ready-made codes; may be empty.
        time_left_s: Time left until the call's deadline; None: unlimited.
        exact_profile: Name of a profile that refuses to encode images in less than fp32; empty:
            none.
    """

    def __init__(
        self,
        collection: CollectionRecord,
        *,
        models: ServedModels,
        stated_fingerprint: str,
        time_left_s: Callable[[], float | None],
        exact_profile: str = "",
    ) -> None:
        self._collection = collection
        self._model = models.find(collection.fingerprint)
        self._served = models.fingerprints
        self._stated_fingerprint = stated_fingerprint
        self._time_left_s = time_left_s
        self._exact_profile = exact_profile

    def check(self, patch: Patch) -> None:
        """Refuse a patch that does not fit the collection, before any work is done on it.

        Raises:
            PreconditionError: Its model is not the collection's, or nothing here encodes images.
            InvalidArgumentError: Its texture has another width.
        """
        name = collection_name(self._collection.name)
        if isinstance(patch.content, EncodedPatch):
            if self._stated_fingerprint != self._collection.fingerprint:
                raise FingerprintMismatchError(
                    collection=name,
                    held=self._collection.fingerprint,
                    offered=self._stated_fingerprint,
                    cure="state in model_fingerprint the model that made the codes; they must be "
                    "made by the collection's",
                )
            bits = patch.content.texture.size * 8
            if bits != self._collection.texture_bits:
                raise InvalidArgumentError(
                    f"patches[{patch.index}].code.texture",
                    f"has {bits} bits; {name} holds textures of {self._collection.texture_bits}",
                    reason="TEXTURE_WIDTH",
                )
            return
        if not self._served:
            raise PreconditionError(
                "this service runs without encoders: send codes, or serve a model",
                reason="NO_ENCODER",
                subject=name,
            )
        if self._model is None:
            raise ModelNotServedError(
                collection=name, held=self._collection.fingerprint, served=self._served
            )
        if self._exact_profile:
            self._require_exact(self._model.encoder, name)

    def _require_exact(self, encoder: ImageEncoder, collection: str) -> None:
        coarse = inexact(encoder.runtimes)
        if coarse:
            served = " and ".join(
                f"{network.role} in {network.precision or 'an unknown precision'}"
                for network in coarse
            )
            raise PreconditionError(
                f"the profile {self._exact_profile} wants images encoded in fp32, and Triton "
                f"serves {served}: start it with --precision fp32 (slidekin up --precision fp32), "
                "send codes, or use the profile default",
                reason="INEXACT_PRECISION",
                subject=collection,
            )

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model that makes, or made, the codes."""
        return self._collection.fingerprint

    async def code(self, patch: Patch) -> CodedPatch:
        """Return a patch with its code; encode it if it is an image. Call ``check`` first.

        Raises:
            InvalidArgumentError: The image was refused.
            EncodingError: The image could not be encoded.
        """
        content = patch.content
        if isinstance(content, PatchImage):
            assert self._model is not None, "check refuses images whose model is not served"
            try:
                content = await self._model.encoder.encode(content, timeout_s=self._time_left_s())
            except ImageRefusedError as error:
                raise InvalidArgumentError(
                    f"patches[{patch.index}].image", str(error), reason="IMAGE_REFUSED"
                ) from error
        return CodedPatch(patch.index, patch.x_px, patch.y_px, content)

    async def codes(self, patches: Sequence[Patch]) -> list[CodedPatch]:
        """Return patches with their codes. Raises as ``check`` and ``code``."""
        for patch in patches:
            self.check(patch)
        return [await self.code(patch) for patch in patches]


def stack(patches: Sequence[CodedPatch]) -> PatchCodes:
    """Return patches as arrays, in the order given. There must be at least one."""
    return PatchCodes(
        keys=np.array([patch.code.key for patch in patches], dtype=np.int64),
        textures=np.stack([patch.code.texture for patch in patches]).astype(np.uint8, copy=False),
        xy=np.array([(patch.x_px, patch.y_px) for patch in patches], dtype=np.int32),
    )


def unstack(codes: PatchCodes) -> Iterator[CodedPatch]:
    """Yield the patches of arrays of codes, one by one."""
    for index, key in enumerate(codes.keys.tolist()):
        x_px, y_px = codes.xy[index].tolist()
        yield CodedPatch(index, x_px, y_px, EncodedPatch(key, codes.textures[index]))
