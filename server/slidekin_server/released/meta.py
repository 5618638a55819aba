"""The file index_meta/meta.pkl: which patches the published index holds, under which keys.

A dict: key -> list of the patches that have it, in order of insertion; each patch a dict that
holds its texture, its slide, x and y, and what else was known of the slide. Only x and y are taken
by name. The texture is the one field that is 1024 bits, the slide's field the one that names a
slide of LATENT; where that is not clear, the file is refused with the fields it has. Which field is
the label or the patient, nothing in the file can say: the caller does.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from slidekin_server.codes import MAX_KEY
from slidekin_server.released.errors import ReleaseError
from slidekin_server.released.plain_pickle import Plain, read_dict
from slidekin_server.released.values import MAX_PX, TEXTURE_BITS, packed_texture, whole_number
from slidekin_server.values import PatchCodes

_KEYS_PER_WORD = 1000
"""Keys after which the caller hears of it."""


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What the caller says of the fields of a patch; None: not said."""

    slide: str | None = None
    label: str | None = None
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class MetaFacts:
    """What ``meta.pkl`` says of a slide beside its patches; empty where nothing."""

    label: str = ""
    patient_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Meta:
    """The published index, without its tree."""

    slides: tuple[str, ...]
    """In order of first appearance."""
    facts: Mapping[str, MetaFacts]
    patches: PatchCodes
    """In the order of the file: key by key, and under a key in order of insertion."""
    slide_of: NDArray[np.int32]
    """Shape (n,). Place in ``slides`` of each patch's slide."""
    fields: tuple[str, ...]
    """Of a patch."""

    def patches_by_slide(self) -> Mapping[str, PatchCodes]:
        """Return each slide's patches, sorted by key; under a key in order of insertion."""
        order = np.lexsort((np.arange(len(self.slide_of)), self.patches.keys, self.slide_of))
        bounds = np.searchsorted(self.slide_of[order], np.arange(len(self.slides) + 1))
        chosen = [order[start:stop] for start, stop in pairwise(bounds)]
        whole = self.patches
        return {
            slide: PatchCodes(whole.keys[rows], whole.textures[rows], whole.xy[rows])
            for slide, rows in zip(self.slides, chosen, strict=True)
        }


def read_meta(
    file: BinaryIO,
    name: str,
    names: FieldNames,
    known: Collection[str],
    watch: Callable[[int], None] = lambda _: None,
) -> Meta:
    """Read the file.

    Args:
        file: Open for reading.
        name: What errors call it.
        names: Fields that the caller names.
        known: Names of the slides of LATENT.
        watch: Told how many bytes were read, now and then.

    Raises:
        ReleaseError: It holds something else, or does not say clearly what.
    """
    reader = _Reader(name, names, known)
    for number, (key, patches) in enumerate(read_dict(file, name)):
        reader.read(key, patches)
        if number % _KEYS_PER_WORD == 0:
            watch(file.tell())
    return reader.result()


@dataclass(slots=True)
class _Fields:
    """Which field of a patch is what."""

    slide: str
    texture: str
    label: str | None
    patient: str | None


@dataclass(slots=True)
class _Reader:
    name: str
    names: FieldNames
    known: Collection[str]
    _fields: _Fields | None = None
    _shown: tuple[str, ...] = ()
    _seen: set[int] = field(default_factory=set)
    _places: dict[str, int] = field(default_factory=dict)
    _facts: dict[str, MetaFacts] = field(default_factory=dict)
    # Arrays, since a list of a million numbers takes five times their memory.
    _keys: array[int] = field(default_factory=lambda: array("q"))
    _slide_of: array[int] = field(default_factory=lambda: array("i"))
    _xy: array[int] = field(default_factory=lambda: array("i"))
    _textures: bytearray = field(default_factory=bytearray)

    def read(self, key: Plain, patches: Plain) -> None:
        number = whole_number(key, MAX_KEY)
        if number is None:
            raise self._refused(f"a key is {_kind(key)}; keys are whole numbers up to {MAX_KEY}")
        if number in self._seen:
            raise self._refused(f"the key {number} comes twice")
        self._seen.add(number)
        if not isinstance(patches, list) or not patches:
            raise self._refused(f"the key {number} has no list of patches")
        for patch in patches:
            if not isinstance(patch, dict):
                raise self._refused(
                    f"a patch of key {number} is {_kind(patch)}; a dict of its fields is expected"
                )
            if self._fields is None:
                self._fields = self._recognise(patch)
            self._keys.append(number)
            self._read_patch(self._fields, patch, number)

    def result(self) -> Meta:
        if not self._keys:
            raise self._refused("it holds no patches")
        count = len(self._keys)
        return Meta(
            slides=tuple(self._places),
            facts=self._facts,
            patches=PatchCodes(
                keys=np.array(self._keys, dtype=np.int64),
                textures=np.frombuffer(bytes(self._textures), dtype=np.uint8).reshape(count, -1),
                xy=np.array(self._xy, dtype=np.int32).reshape(count, 2),
            ),
            slide_of=np.array(self._slide_of, dtype=np.int32),
            fields=self._shown,
        )

    def _read_patch(self, fields: _Fields, patch: dict[str | int | float, Plain], key: int) -> None:
        slide = self._text(patch, fields.slide, key)
        x_px = whole_number(patch.get("x", ""), MAX_PX)
        y_px = whole_number(patch.get("y", ""), MAX_PX)
        texture = packed_texture(patch.get(fields.texture, ""))
        if x_px is None or y_px is None:
            raise self._refused(f"a patch of key {key} has no whole numbers x and y")
        if texture is None:
            raise self._refused(
                f"a patch of key {key} has no texture of {TEXTURE_BITS} bits in {fields.texture!r}"
            )
        facts = MetaFacts(
            label=self._text(patch, fields.label, key) if fields.label else "",
            patient_id=self._text(patch, fields.patient, key) if fields.patient else "",
        )
        if self._facts.setdefault(slide, facts) != facts:
            raise self._refused(
                f"patches of slide {slide!r} differ in their label or patient; name other fields, "
                "or give labels and patients as CSV"
            )
        self._slide_of.append(self._places.setdefault(slide, len(self._places)))
        self._xy.extend((x_px, y_px))
        self._textures += texture

    def _recognise(self, patch: dict[str | int | float, Plain]) -> _Fields:
        """Say which field is what, by the first patch."""
        # Kinds, not values: those may be a patient's.
        self._shown = tuple(f"{name} ({_kind(value)})" for name, value in patch.items())
        textures = [name for name, value in patch.items() if packed_texture(value) is not None]
        slides = [
            name for name, value in patch.items() if isinstance(value, str) and value in self.known
        ]
        if self.names.slide is not None:
            slides = [self.names.slide]
        elif len(slides) != 1:
            raise self._unclear(
                f"{len(slides)} fields of its first patch name a slide of LATENT; say with "
                "--slide-field which one does"
            )
        if len(textures) != 1:
            raise self._unclear(
                f"{len(textures)} fields of its first patch hold 1024 bits, not one"
            )
        for name in (self.names.slide, self.names.label, self.names.patient):
            if name is not None and name not in patch:
                raise self._unclear(f"its patches have no field {name!r}")
        return _Fields(str(slides[0]), str(textures[0]), self.names.label, self.names.patient)

    def _text(self, patch: dict[str | int | float, Plain], name: str, key: int) -> str:
        value = patch.get(name)
        if not isinstance(value, str):
            raise self._refused(f"a patch of key {key} has no text in {name!r}: {_kind(value)}")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self._refused(
                f"a patch of key {key} has text in {name!r} that is no UTF-8"
            ) from None
        return value

    def _unclear(self, reason: str) -> ReleaseError:
        return self._refused(f"{reason}. Its fields: {', '.join(self._shown) or 'none'}")

    def _refused(self, reason: str) -> ReleaseError:
        return ReleaseError(f"{self.name} is refused: {reason}")


def _kind(value: Plain | None) -> str:
    """Say what a value is without telling it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"text of {len(value)}"
    if isinstance(value, list | dict):
        return f"{type(value).__name__} of {len(value)}"
    return "number"
