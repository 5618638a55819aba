"""What a service serves, within which limits, and the copies it keeps of its store."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

EncoderState = Literal["unknown", "absent", "starting", "ready", "unavailable", "canary-mismatch"]
"""State of the networks behind the service."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network in use."""

    role: str
    """``vqvae`` or ``texture``."""
    name: str
    """Name in its manifest."""
    architecture: str
    """Its architecture."""
    source: str
    """Where its weights come from."""
    licence: str
    """Licence of its weights."""
    random_weights: bool
    """Its weights are random."""
    runtime: str = ""
    """What runs it, for example ``openvino``; empty before the encoders were asked."""
    precision: str = ""
    """Precision it is served in: ``fp32``, ``bf16`` or ``fp16``; empty likewise. The profile
    ``sish-2022`` takes images only where every network is served in ``fp32``."""


@dataclass(frozen=True, slots=True)
class Model:
    """The model that is served."""

    fingerprint: str
    """Fingerprint of weights, semantic order and preprocessing; empty: no model is served."""
    texture_bits: int
    """Bits of a texture."""
    hamming_threshold_bits: int
    """The texture network's threshold."""
    random_weights: bool
    """At least one network's weights are random."""
    networks: tuple[Network, ...]
    """The networks."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One of the models that are served side by side."""

    model: Model
    """The model."""
    name: str
    """Name of its folder in the model store."""
    active: bool
    """New collections get it where they ask for none."""
    encoder_state: EncoderState
    """Its networks."""
    encoder_message: str
    """Why they are not ready; empty where they are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service accepts. 0: not stated."""

    max_message_bytes: int
    """Greatest message, either way."""
    max_image_bytes: int
    """Greatest picture of a patch."""
    max_image_pixels: int
    """Greatest picture of a patch, in pixels."""
    max_thumbnail_bytes: int
    """Greatest thumbnail."""
    max_patches_per_slide: int
    """Most patches of one slide or query."""
    max_k: int
    """Greatest k."""
    max_hits_per_patch: int
    """Most hits returned of one patch."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checked copy of a service's store."""

    name: str
    """Resource name, ``snapshots/SNAPSHOT``."""
    create_time: dt.datetime | None
    """When the copy was begun (UTC): it holds what was acknowledged by then."""
    sequence: int
    """Number of the latest change it holds."""
    size_bytes: int
    """Of its database."""
    sha256: str
    """Of its database, in hex."""
    collection_count: int
    """Collections it holds."""
    slide_count: int
    """Slides it holds, damaged ones included."""
    patch_count: int
    """Patches it holds."""
    damaged_slide_count: int
    """Slides that were damaged in the store already."""
    problem: str
    """What is wrong with it as far as its manifest tells; empty where nothing is."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a running service serves, and in which state."""

    version: str
    """Version of the service."""
    start_time: dt.datetime | None
    """When it started (UTC)."""
    index_loaded: bool
    """Every index is loaded."""
    encoder_state: EncoderState
    """The networks of the model that new collections get."""
    encoder_message: str
    """Why they are not ready; empty where they are."""
    model: Model
    """The model that new collections get."""
    limits: Limits
    """What it accepts."""
    collection_count: int
    """Collections held."""
    slide_count: int
    """Slides held in all."""
    patch_count: int
    """Patches held in all."""
    damaged_slide_count: int = 0
    """Slides found damaged on the service's disk: in no count above, found by no search."""
    damaged_slides: tuple[str, ...] = ()
    """Full names of the first hundred of them. Add each again with ``replace``, or delete it."""
    models: tuple[ServedModel, ...] = ()
    """All models that are served, the one that new collections get first."""
