"""The values that the SDK takes and returns: frozen, typed, free of generated code."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from slidekin.slides import MosaicSettings, Region, TissueSettings

SearchMode = Literal["auto", "guided", "exact", "hybrid"]
"""How patches are looked for: SISH's walk, a full scan, or the walk helped out by the scan."""
RankingMethod = Literal["auto", "uncertainty", "label-free"]
"""How slides are ranked. ``auto``: ``uncertainty`` where the collection has labels."""
RankingFallback = Literal["auto", "none", "label-free"]
"""What to do where ``uncertainty`` leaves fewer than k. ``auto``: as the profile says."""
EncoderState = Literal["unknown", "absent", "starting", "ready", "unavailable", "canary-mismatch"]
"""State of the networks behind the service."""
ImageFormat = Literal["jpeg", "png", "rgb"]
"""How a picture is laid out."""
PatchFormat = Literal["jpeg", "png", "raw"]
"""How patches that are read from a slide travel."""


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


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide as a collection knows it."""

    name: str
    """``collections/{collection}/slides/{slide}``."""
    patient_id: str = ""
    """Whose slide it is; empty: not stated."""
    label: str = ""
    """What it shows; empty: not stated."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Further facts to filter by."""
    width_px: int = 0
    """Width of level 0. 0: unknown."""
    height_px: int = 0
    """Height of level 0. 0: unknown."""
    mpp: float = 0.0
    """Micrometres per pixel of level 0. 0: unknown."""
    patch_size_px: int = 0
    """Edge of a patch in level-0 pixels. 0: unknown."""
    source_digest: str = ""
    """SHA-256 (hex) of file and mosaic settings; empty: not stated."""
    content_digest: str = ""
    """SHA-256 (hex) of patches and facts, by the service."""
    patch_count: int = 0
    """Patches held."""
    create_time: dt.datetime | None = None
    """When it was added (UTC)."""

    @property
    def slide_id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @property
    def collection_id(self) -> str:
        """The collection's part of the name."""
        parts = self.name.split("/")
        return parts[1] if len(parts) > 1 else ""


@dataclass(frozen=True, slots=True)
class Collection:
    """A set of slides that is searched together."""

    name: str
    """``collections/{collection}``."""
    display_name: str = ""
    """Name for people."""
    description: str = ""
    """What it holds."""
    model_fingerprint: str = ""
    """Fingerprint of the model whose codes it holds."""
    texture_bits: int = 0
    """Bits of a texture."""
    hamming_threshold_bits: int = 0
    """Distance up to which two textures count as alike."""
    slide_count: int = 0
    """Slides held."""
    patch_count: int = 0
    """Patches held."""
    index_version: int = 0
    """Grows with every change; counted anew from each start of the service."""
    create_time: dt.datetime | None = None
    """When it was created (UTC)."""
    reindex_model_fingerprint: str = ""
    """Model that a reindex under way gives it; empty: there is none."""

    @property
    def collection_id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Reindex:
    """A collection on its way to another model."""

    collection: str
    """``collections/{collection}``."""
    model_fingerprint: str
    """Model that it is to have."""
    texture_bits: int
    """Bits of a texture of that model."""
    hamming_threshold_bits: int
    """Distance up to which two textures will count as alike."""
    done_slide_count: int
    """Slides that are encoded anew."""
    pending_slide_count: int
    """Slides that are not."""
    create_time: dt.datetime | None
    """When it was started (UTC)."""
    damaged_slides: tuple[str, ...]
    """Full names of the first hundred slides that are damaged on the service's disk: they cannot be
    encoded anew. Add them again with ``replace``, delete them, or drop them at the end."""


@dataclass(frozen=True, slots=True)
class SlideFilter:
    """Which slides a search or a listing admits. Every condition that is given must hold."""

    labels: Sequence[str] = ()
    """Labels, any of which is admitted. Empty: all."""
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Attribute to admitted values; no values: it must be present."""
    slides: Sequence[str] = ()
    """Slides (names or ids), any of which is admitted. Empty: all."""
    exclude_patient_ids: Sequence[str] = ()
    """Patients whose slides are left out."""
    exclude_slides: Sequence[str] = ()
    """Slides (names or ids) that are left out."""


@dataclass(frozen=True, slots=True)
class GuidedParameters:
    """Parameters of the guided walk. None: the profile's value."""

    seed_spacing: int | None = None
    """Distance between seeds in units of 10^11 of the key (SISH: 50)."""
    seeds_per_side: int | None = None
    """Seeds on each side of the query's key (SISH: 10)."""
    successor_steps: int | None = None
    """Steps towards greater keys (SISH: 375)."""
    predecessor_steps: int | None = None
    """Steps towards smaller keys (SISH: 375)."""
    include_seed_key: bool | None = None
    """Look at a seed's own key too."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What is wanted of a search. None: the service's default."""

    k: int = 5
    """Slides to return."""
    mode: SearchMode = "auto"
    """How patches are looked for. ``auto``: as the profile does (``default``: hybrid,
    ``sish-2022``: guided)."""
    profile: str = "default"
    """``default`` or ``sish-2022``, the published program to the last bit."""
    filter: SlideFilter = field(default_factory=SlideFilter)
    """Which slides are admitted."""
    hamming_threshold_bits: int | None = None
    """Greatest distance of a hit. None: the collection's."""
    guided: GuidedParameters = field(default_factory=GuidedParameters)
    """Parameters of the guided walk."""
    ranking: RankingMethod = "auto"
    """How slides are ranked."""
    fallback: RankingFallback = "auto"
    """What to do where that leaves too few."""
    label_weight_sum: float | None = None
    """Sum of the label weights (SISH: 10; 30 for anatomic sites). None: 10."""
    max_hits_per_patch: int | None = None
    """Hits returned of each patch. None: 10. 0: none."""
    max_evidence_per_slide: int | None = None
    """Matched pairs returned with each slide. None: 3. At most 1000, and 100,000 in all."""
    include_ranking_details: bool = False
    """Return how the ranking came about."""


@dataclass(frozen=True, slots=True)
class SlideSource:
    """A slide on disk and how to read it."""

    path: str | Path
    """File, or folder of a DICOM slide."""
    slide_id: str | None = None
    """Its id. None: the file's name without suffix."""
    mpp: float | None = None
    """Micrometres per pixel of level 0, where the file does not say or says it wrongly."""
    mosaic: MosaicSettings | str = "default"
    """How patches are picked: settings, or the name of a profile."""
    tissue: TissueSettings | None = None
    """How tissue is told from glass. None: the defaults."""
    region: Region | None = None
    """Only this part. None: the whole slide."""
    patch_format: PatchFormat = "jpeg"
    """How patches travel: ``jpeg`` (quality 95), or without loss as ``png`` or ``raw``."""
    workers: int | None = None
    """Threads that read tiles. None: up to 4."""


@dataclass(frozen=True, slots=True)
class ImagePatch:
    """A patch as a picture; the service's networks encode it."""

    x_px: int
    """Left edge in level-0 pixels."""
    y_px: int
    """Top edge in level-0 pixels."""
    data: bytes
    """The picture: a file's bytes, or raw RGB."""
    format: ImageFormat = "jpeg"
    """Layout of ``data``."""
    width_px: int = 0
    """Width, needed for ``rgb``."""
    height_px: int = 0
    """Height, needed for ``rgb``."""
    thumbnail: bytes | None = None
    """A small JPEG to look at; kept with stored slides."""


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Ready-made codes of ``n`` patches."""

    keys: NDArray[np.int64]
    """Shape (n,). SISH keys, 0 <= key < 2**63."""
    textures: NDArray[np.uint8]
    """Shape (n, texture_bits // 8). Bit 0 is the most significant bit of byte 0."""
    xy: NDArray[np.int32]
    """Shape (n, 2). Top-left corners in level-0 pixels."""

    def __post_init__(self) -> None:
        n = len(self.keys)
        if (
            self.keys.shape != (n,)
            or self.textures.ndim != 2
            or len(self.textures) != n
            or self.textures.dtype != np.uint8
            or self.xy.shape != (n, 2)
        ):
            raise ValueError(
                "codes do not fit together: keys must have shape (n,), textures (n, bytes) as "
                f"uint8, xy (n, 2); got {self.keys.shape}, {self.textures.shape} "
                f"{self.textures.dtype}, {self.xy.shape}"
            )

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class AddedSlide:
    """The answer to an added slide: it is on disk."""

    slide: Slide
    """The slide as it is stored."""
    already_present: bool
    """The collection held this very slide before: nothing was changed."""
    index_version: int
    """Index version from which on searches see it. 0 where the slide was found without asking to
    add it."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportedSlide:
    """One slide of an export."""

    slide: Slide
    """The slide."""
    codes: Codes
    """Its patches in order of insertion."""
    model_fingerprint: str
    """Fingerprint of the model that made the codes."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A patch that looks like a query patch."""

    slide: str
    """Resource name of its slide."""
    patch_index: int
    """Its index in that slide, from 0."""
    x_px: int
    """Its left edge in level-0 pixels."""
    y_px: int
    """Its top edge in level-0 pixels."""
    key: int
    """Its key."""
    hamming_distance_bits: int
    """Hamming distance of the textures."""


@dataclass(frozen=True, slots=True)
class PatchHits:
    """The hits of one query patch: SISH's bag."""

    query_patch_index: int
    """Index of the query patch, from 0."""
    hits: tuple[Hit, ...]
    """Hits, closest first, cut to ``max_hits_per_patch``."""
    hit_count: int
    """Hits found before the cut."""
    mode: str
    """``guided`` or ``exact``."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A pair of patches that look alike: why a slide was found."""

    query_patch_index: int
    """Index of the query patch, from 0."""
    query_x_px: int
    """Left edge of the query patch in level-0 pixels of the query."""
    query_y_px: int
    """Top edge of the query patch in level-0 pixels of the query."""
    hit: Hit
    """The matched patch."""


@dataclass(frozen=True, slots=True)
class RankedSlide:
    """A slide that was found."""

    rank: int
    """Place in the list, from 1."""
    slide: Slide
    """The slide."""
    hamming_distance_bits: int
    """Distance of the hit that listed it."""
    query_patch_index: int
    """Query patch that listed it."""
    method: str
    """``uncertainty`` or ``label-free``: what listed it."""
    entropy: float | None
    """Entropy, in bits, of the labels among that patch's hits; None where listed label-free."""
    score: float | None
    """Score of the label-free ranking, 0 to 1; None where listed by uncertainty."""
    evidence: tuple[Evidence, ...]
    """The best matched pairs, closest first."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a search went, in seconds, by the service's clock."""

    total_s: float = 0.0
    """From the first message to the end."""
    encode_s: float = 0.0
    """Sum over patches of the wait for the networks; overlaps with the others."""
    search_s: float = 0.0
    """Sum over patches of the search in the index."""
    rank_s: float = 0.0
    """The ranking."""


@dataclass(frozen=True, slots=True)
class RankingDetails:
    """How the ranking by uncertainty came about."""

    entropies: Mapping[int, float]
    """Entropy, in bits, of each query patch with at least one hit."""
    kept: tuple[int, ...]
    """Query patches kept by the cleaning, in order."""
    removed: tuple[int, ...]
    """Query patches that contradicted the vote."""
    hamming_threshold: float
    """Mean distance of the kept bags' first five hits, in bits."""
    label_weights: Mapping[str, float]
    """Weight of each label."""


@dataclass(frozen=True, slots=True)
class Query:
    """What was searched with, as far as the client knows it."""

    slide_id: str = ""
    """The query's id; empty for bare codes."""
    positions: tuple[tuple[int, int], ...] = ()
    """Top-left corners of the query patches in level-0 pixels, in order."""
    width_px: int = 0
    """Width of level 0. 0: unknown."""
    height_px: int = 0
    """Height of level 0. 0: unknown."""
    mpp: float = 0.0
    """Micrometres per pixel of level 0. 0: unknown."""
    patch_size_px: int = 0
    """Edge of a patch in level-0 pixels. 0: unknown."""
    mosaic_profile: str = ""
    """Profile that picked the patches; empty: not picked here."""
    region: tuple[int, int, int, int] | None = None
    """x, y, width, height of the part that was searched with; None: the whole slide."""
    thumbnail: bytes | None = field(default=None, repr=False)
    """JPEG of the whole slide."""
    patch_thumbnails: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    """JPEGs of the query patches by index."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to a search."""

    collection: str
    """``collections/{collection}``."""
    options: SearchOptions
    """What was asked for."""
    query: Query
    """What was searched with."""
    slides: tuple[RankedSlide, ...]
    """Slides, best first, at most k."""
    patch_hits: tuple[PatchHits, ...]
    """Final hits of each query patch, in the query's order."""
    short_reasons: tuple[str, ...]
    """Why there are fewer than k, for programs: ``no-hits``, ``filter``, ..."""
    short_messages: tuple[str, ...]
    """The same for people."""
    modes: Mapping[str, int]
    """Query patches that each mode answered."""
    query_patch_count: int
    """Patches in the query."""
    index_version: int
    """Version of the index that was searched."""
    model_fingerprint: str
    """Fingerprint of the collection's model."""
    random_weights: bool
    """The networks' weights are random: the answer says nothing of tissue."""
    timings: Timings
    """Where the time went."""
    details: RankingDetails | None = None
    """How the ranking came about, where asked for."""


@dataclass(frozen=True, slots=True)
class PatchSearchResult:
    """The answer to a search for patches."""

    patch_hits: tuple[PatchHits, ...]
    """Hits of each patch, in the order asked."""
    index_version: int
    """Version of the index that was searched."""
    model_fingerprint: str
    """Fingerprint of the collection's model."""
    random_weights: bool
    """The networks' weights are random: the answer says nothing of tissue."""


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Pictures kept with a slide."""

    slide: bytes | None
    """JPEG or PNG of the whole slide; None: none kept, or not asked for."""
    patches: Mapping[int, bytes]
    """JPEG or PNG of those of the patches asked for that have one, by index."""


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
