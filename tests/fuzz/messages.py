"""Messages of any kind, made from their descriptors: plausible ones, and ones gone wild.

One strategy serves every message. Fields that mean something to the service by their name (names of
resources, page tokens, fingerprints, textures, numbers with limits) get values that lead deep into
it; beside those each field gets what its type can hold at worst.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from tests.fuzz.pictures import PICTURES
from tests.service_calls import FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS

from slidekin_server.api.validation import Page

COLLECTIONS = ("fuzz-0", "fuzz-1")
"""They exist when a run begins."""
SLIDES = tuple(f"slide-{number}" for number in range(6))
PATIENTS = ("P-1", "P-2", "P-3")
LABELS = ("naevus", "melanoma", "")
OTHER_FINGERPRINT = "e" * 64

_F = FieldDescriptor
_INTEGERS = {
    _F.TYPE_INT32: (-(2**31), 2**31 - 1),
    _F.TYPE_SINT32: (-(2**31), 2**31 - 1),
    _F.TYPE_UINT32: (0, 2**32 - 1),
    _F.TYPE_INT64: (-(2**63), 2**63 - 1),
    _F.TYPE_SINT64: (-(2**63), 2**63 - 1),
    _F.TYPE_UINT64: (0, 2**64 - 1),
    _F.TYPE_ENUM: (-(2**31), 2**31 - 1),
}
_HOSTILE_TEXTS = (
    "", " ", "-", ".", "..", "/", "\0", "\n", "a\r\nlevel=info", "\x1b[31m", "\u202etfarc",
    "\ufeff", "é", "e\u0301", "🧬" * 20, "\U0010ffff",
    "../../../../etc/passwd", "%s%n%x", "{0.__class__}",
    "' OR 1=1 --", "${jndi:ldap://x}", "<script>", "x" * 257, "ü" * 2500, "x" * 70_000,
    "collections/-", "collections/", "collections/fuzz-0/slides/", "collections/fuzz-0/slides/a/b",
    "collections/fuzz-0/slides/" + "x" * 300, "collections/" + "c" * 128,
    "snapshots/../store",
    "snapshots/x", "nan", "NaN", "default", "sish-2022",
)  # fmt: skip
_HOSTILE_NUMBERS = (
    math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e-7, 1.7976931348623157e308, -1.0, 1e6, 1000.0,
)  # fmt: skip
_COUNTS = (65, 201, 1001, 10_001)
"""One more than each limit on the number of entries."""


def messages(kind: type[Message]) -> SearchStrategy[Any]:
    """Messages of a kind."""
    return _message(kind.DESCRIPTOR)


@functools.cache
def _message(descriptor: Descriptor) -> SearchStrategy[Any]:
    if descriptor.full_name == FieldMask.DESCRIPTOR.full_name:
        return _masks()
    return _filled(descriptor)


@st.composite
def _filled(draw: DrawFn, descriptor: Descriptor) -> Message:
    """A message some of whose fields are set; of a oneof, at most one."""
    made = GetMessageClass(descriptor)()
    # Mostly plausible, or nothing gets past the first check; now and then wild throughout.
    wild_percent = draw(st.sampled_from((0, 0, 0, 8, 8, 60)))
    oneofs = [group for group in descriptor.oneofs if not _is_optional(group)]
    grouped = {field.name for group in oneofs for field in group.fields}
    chosen = [field for field in descriptor.fields if field.name not in grouped]
    for group in oneofs:
        field = draw(_member(group))
        if field is not None:
            _set(made, field, draw(_values(field, wild=False)))
    for field in chosen:
        wild = bool(wild_percent) and draw(st.integers(0, 99)) < wild_percent
        if wild or draw(_presence(field)):
            _set(made, field, draw(_values(field, wild=wild)))
    return made


def _is_optional(group: Any) -> bool:
    """Whether a oneof only stands for the word ``optional``."""
    return len(group.fields) == 1 and group.name == f"_{group.fields[0].name}"


@functools.cache
def _member(group: Any) -> SearchStrategy[FieldDescriptor | None]:
    """Which field of a oneof is set: seldom none, and codes more often than images."""
    fields = [field for field in group.fields for _ in range(8 if field.name == "code" else 2)]
    return st.sampled_from((*fields, None))


def _presence(field: FieldDescriptor) -> SearchStrategy[bool]:
    if field.name in _NEEDED:
        return _OFTEN
    return _SELDOM if field.name in _RARE else _EITHER


_NEEDED = frozenset(
    {"name", "parent", "names", "collection", "slide", "model_fingerprint", "replace", "key",
     "texture", "texture_bits", "hamming_threshold_bits", "patches", "data", "format"}
)  # fmt: skip
_RARE = frozenset(
    {"thumbnail", "for_reindex", "filter", "guided", "page_token", "exclude_patient_ids", "slides",
     "source_digest", "width_px", "height_px"}
)  # fmt: skip
_OFTEN = st.sampled_from((True,) * 19 + (False,))
_EITHER = st.booleans()
_SELDOM = st.sampled_from((True,) + (False,) * 7)


def _set(made: Message, field: FieldDescriptor, value: Any) -> None:
    target = getattr(made, field.name)
    if _is_map(field):
        target.update(value)
    elif field.is_repeated:
        target.extend(value)
    elif field.type == _F.TYPE_MESSAGE:
        target.CopyFrom(value)
    else:
        setattr(made, field.name, value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.type == _F.TYPE_MESSAGE and field.message_type.GetOptions().map_entry


@functools.cache
def _values(field: FieldDescriptor, *, wild: bool) -> SearchStrategy[Any]:
    """Values of a field: one, or as many as it takes."""
    if _is_map(field):
        entry = _wild_texts() if wild else st.sampled_from(("site", "stain", "skin", "H&E"))
        some = st.dictionaries(entry, entry, max_size=3)
        many = st.integers(65, 70).map(lambda count: {f"a{n}": "v" for n in range(count)})
        return st.one_of(some, many) if wild else some
    one = _one(field, wild=wild)
    if not field.is_repeated:
        return one
    few = st.lists(one, min_size=0 if wild else 1, max_size=4)
    if not wild:
        return few
    return st.one_of(few, st.builds(lambda value, count: [value] * count, one, _counts()))


def _counts() -> SearchStrategy[int]:
    return st.sampled_from(_COUNTS)


def _one(  # noqa: PLR0911  a type each
    field: FieldDescriptor, *, wild: bool
) -> SearchStrategy[Any]:
    if field.type == _F.TYPE_MESSAGE:
        return _message(field.message_type)
    if not wild:
        known = _plausible(field)
        if known is not None:
            return known
    match field.type:
        case _F.TYPE_STRING:
            return _wild_texts() if wild else st.sampled_from((*LABELS, *PATIENTS, "H&E"))
        case _F.TYPE_BYTES:
            return st.one_of(st.binary(max_size=64), st.just(b"\xff" * 5000), _pictures())
        case _F.TYPE_BOOL:
            return st.booleans()
        case _F.TYPE_DOUBLE | _F.TYPE_FLOAT:
            return st.one_of(st.sampled_from(_HOSTILE_NUMBERS), st.floats(width=32))
        case _F.TYPE_ENUM if not wild:
            return st.sampled_from([value.number for value in field.enum_type.values])
    least, most = _INTEGERS[field.type]
    if not wild:
        return st.integers(max(least, 0), min(most, 20))
    edges = (least, -1, 0, 1, 2, 63, 64, 129, 201, 2**15, 2**31 - 1, 2**31, 2**62, most - 1, most)
    return st.one_of(
        st.sampled_from([edge for edge in edges if least <= edge <= most]),
        st.integers(least, most),
    )


def _plausible(field: FieldDescriptor) -> SearchStrategy[Any] | None:
    """Values that the service can work with, where the field's name says what they are."""
    if field.name == "name":
        return _names(field.containing_type.name)
    make = _BY_NAME.get(field.name)
    return None if make is None else make()


def _names(message: str) -> SearchStrategy[str]:
    """Names as the message that holds them wants them."""
    if "Snapshot" in message:
        return st.sampled_from(("snapshots/20260101T000000000000Z-1", "snapshots/none"))
    if "Slide" in message or "Thumbnail" in message:
        return _slide_names()
    return _collection_names()


def _collection_names() -> SearchStrategy[str]:
    first, second = (f"collections/{one}" for one in COLLECTIONS)
    return st.sampled_from((*(first,) * 8, second, "collections/absent", "collections/-"))


def _slide_names() -> SearchStrategy[str]:
    return st.builds(
        "collections/{}/slides/{}".format,
        st.sampled_from((*COLLECTIONS[:1] * 8, *COLLECTIONS, "absent")),
        st.sampled_from((*SLIDES, *SLIDES[:2] * 6, "none", "naïve slide")),
    )


def _fingerprints() -> SearchStrategy[str]:
    return st.sampled_from((FINGERPRINT,) * 8 + (OTHER_FINGERPRINT, ""))


def _page_tokens() -> SearchStrategy[str]:
    """Tokens as the service makes them, of pages that it never gave out."""

    def forged(scope: bytes, last: int) -> str:
        return Page.of(size=0, token="", scope=scope).token(last)

    parents = [f"collections/{one}".encode() for one in COLLECTIONS]
    scopes = (b"collections", *parents, *(b"pending " + parent for parent in parents))
    lasts = st.sampled_from((0, 1, 2, 2**31, 2**63 - 1, 2**63, 2**64 - 1))
    return st.one_of(st.just(""), st.builds(forged, st.sampled_from(scopes), lasts))


def _masks() -> SearchStrategy[FieldMask]:
    paths = st.sampled_from(
        ("label", "attributes", "display_name", "description", "name", "*", "label.x", "")
    )
    return st.builds(lambda chosen: FieldMask(paths=chosen), st.lists(paths, max_size=3))


def _textures() -> SearchStrategy[bytes]:
    size = TEXTURE_BITS // 8
    return st.one_of(
        st.sampled_from((b"\0" * size, b"\xff" * size, b"\x0f" * size)),
        st.binary(min_size=size, max_size=size),
    )


def _keys() -> SearchStrategy[int]:
    return st.one_of(
        st.sampled_from((0, 10**14, 10**14 + 1, 8 * 10**14, 2**50, 2**63 - 1)),
        st.integers(0, 2**50),
    )


def _pictures() -> SearchStrategy[bytes]:
    whole = st.sampled_from(PICTURES)
    cut = st.builds(lambda data, share: data[: len(data) * share // 100], whole, st.integers(0, 99))
    return st.one_of(whole, cut)


def _wild_texts() -> SearchStrategy[str]:
    texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
    return st.one_of(st.sampled_from(_HOSTILE_TEXTS), texts, _slide_names(), _collection_names())


_BY_NAME: dict[str, Callable[[], SearchStrategy[Any]]] = {
    "parent": _collection_names,
    "names": _slide_names,
    "slides": _slide_names,
    "exclude_slides": _slide_names,
    "drop_slides": _slide_names,
    "model_fingerprint": _fingerprints,
    "page_token": _page_tokens,
    "texture": _textures,
    "key": _keys,
    "data": _pictures,
    "format": lambda: st.sampled_from((1, 2)),
    "replace": lambda: st.sampled_from((True, True, True, False)),
    "ranking": lambda: st.sampled_from((0, 1, 2)),
    "texture_bits": lambda: st.sampled_from((TEXTURE_BITS,) * 4 + (0, 64, 100, 65_536)),
    "hamming_threshold_bits": lambda: st.sampled_from((THRESHOLD_BITS,) * 3 + (0, TEXTURE_BITS)),
    "patient_id": lambda: st.sampled_from(PATIENTS),
    "exclude_patient_ids": lambda: st.sampled_from(PATIENTS),
    "label": lambda: st.sampled_from(LABELS),
    "labels": lambda: st.sampled_from(LABELS[:2]),
    "attribute": lambda: st.sampled_from(("site", "stain", "none")),
    "profile": lambda: st.sampled_from(("", "default", "sish-2022")),
    "mpp": lambda: st.sampled_from((0.25, 0.5, 0.0)),
    "label_weight_sum": lambda: st.sampled_from((10.0, 30.0, 1e-6, 1e6)),
    "source_digest": lambda: st.sampled_from(("", "0" * 64, "1" * 64)),
    "content_digest": lambda: st.just(""),
    "width_px": lambda: st.sampled_from((0, 64, 1024, 50_000, 2**31 - 1)),
    "height_px": lambda: st.sampled_from((0, 64, 1024, 50_000, 2**31 - 1)),
    "x_px": lambda: st.integers(0, 1023),
    "y_px": lambda: st.integers(0, 1023),
    "k": lambda: st.sampled_from((1, 3, 5, 50)),
    "max_hits_per_patch": lambda: st.sampled_from((0, 1, 10, 15_000)),
    "max_evidence_per_slide": lambda: st.sampled_from((0, 3, 1000)),
    "seed_spacing": lambda: st.sampled_from((1, 50, 1_000_000)),
    "seeds_per_side": lambda: st.sampled_from((1, 10, 1000)),
    "successor_steps": lambda: st.sampled_from((0, 375, 1_000_000)),
    "predecessor_steps": lambda: st.sampled_from((0, 375, 1_000_000)),
    "patch_indices": lambda: st.integers(0, 3),
}
"""By a field's name, wherever it stands."""
