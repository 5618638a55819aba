"""The parts of one version of an index: the directory of its blocks, and the table of slides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index.blocks import fill
from slidekin_server.index.memory import FILL_PATCHES, Arena


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """The blocks of one version, in order of their patches."""

    first_keys: NDArray[np.int64]
    blocks: NDArray[np.int32]
    counts: NDArray[np.int32]
    bases: NDArray[np.int64]
    """Addresses of the arena's segments."""


@dataclass(frozen=True, slots=True, eq=False)
class SlideTable:
    """The state of each slide number; shared by all versions.

    A slide's row is written before the first version with the slide is published. After that only
    ``removed`` is written: the number of the first version without the slide, before that version
    is published. So all versions read the same arrays without a lock, and each finds its own state.
    """

    added: NDArray[np.int64]
    """By slide number: the first version that holds it."""
    removed: NDArray[np.int64]
    """By slide number: the first version that no longer holds it."""
    patches: NDArray[np.int32]
    """By slide number: number of patches."""


def owners(
    numbers: NDArray[np.int64], counts: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return slide number and patch index of every patch of slides, one after the other."""
    slides = np.repeat(numbers.astype(np.int32), counts)
    ends = np.cumsum(counts, dtype=np.int64)
    patches = np.arange(len(slides), dtype=np.int64) - np.repeat(ends - counts, counts)
    return slides, patches.astype(np.int32)


def pack(
    words: int,
    keys: NDArray[np.int64],
    slides: NDArray[np.int32],
    patches: NDArray[np.int32],
    texture_addresses: NDArray[np.int64],
) -> tuple[Arena, Directory]:
    """Write sorted patches, whose textures are at these addresses, into blocks of a new arena."""
    arena = Arena(words)
    blocks = arena.allocate(-(-len(keys) // FILL_PATCHES))
    first_keys, blocks, counts = fill(
        arena.bases, words, blocks, keys, slides, patches, texture_addresses
    )
    return arena, Directory(first_keys, blocks, counts, arena.bases)
