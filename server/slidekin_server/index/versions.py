"""Versions of an index that are still read, and the blocks that are kept only for them.

A block is part of every version from the one it was written for until the change that removed it.
It is kept for the newest of these versions that is still read. Once nobody reads that version any
more, the block passes to the next older version that has it, or back to the arena if there is none.
So a long search keeps the blocks of its own version, but not those that were added and removed in
the meantime. The same holds for the keys of slides.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index.memory import Arena
from slidekin_server.index.snapshot import IndexSnapshot

_NONE_BEFORE = -1


@dataclass(frozen=True, slots=True)
class _Version:
    """A version that was still read at the last check."""

    number: int
    snapshot: weakref.ref[IndexSnapshot]
    blocks: list[NDArray[np.int32]] = field(default_factory=list)
    """Blocks that it has, and no later version."""
    slides: list[tuple[int, int]] = field(default_factory=list)
    """The same for slides: the version with which each was added, and its number."""


class Versions:
    """Frees what no version needs that is still read. Used by one writer at a time.

    Args:
        arena: The arena to which blocks are returned.
        keys_of_slide: The table from which the keys of slides are deleted.
    """

    def __init__(self, arena: Arena, keys_of_slide: dict[int, NDArray[np.int64]]) -> None:
        self._arena = arena
        self._keys_of_slide = keys_of_slide
        self._read: list[_Version] = []

    def publish(
        self,
        snapshot: IndexSnapshot,
        blocks: Sequence[NDArray[np.int32]] = (),
        slides: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Register the next version.

        Args:
            snapshot: The version; readers hold a reference to it while they read it.
            blocks: Blocks that the previous version has, or that were written in between, and that
                this version does not have.
            slides: Slides that the previous version has and this one does not: the version with
                which each was added, and its number.
        """
        self._keep(len(self._read) - 1, blocks, slides)
        self._read.append(_Version(snapshot.version, weakref.ref(snapshot)))

    def reclaim(self) -> None:
        """Free what is kept for versions that nobody reads any more."""
        # Newest first: what one version passes on may be passed on again at once.
        for place in reversed(range(len(self._read))):
            version = self._read[place]
            if version.snapshot() is None:
                del self._read[place]
                self._keep(place - 1, version.blocks, version.slides)

    @property
    def kept_blocks(self) -> list[NDArray[np.int32]]:
        """Return the blocks that are kept for versions other than the newest."""
        return [blocks for version in self._read for blocks in version.blocks]

    def _keep(
        self,
        place: int,
        retired: Sequence[NDArray[np.int32]],
        slides: Iterable[tuple[int, int]],
    ) -> None:
        """Keep those that the version at a position has, and free the rest."""
        version = self._read[place] if place >= 0 else None
        number = _NONE_BEFORE if version is None else version.number
        for added, slide in slides:
            if version is not None and added <= number:
                version.slides.append((added, slide))
            else:
                del self._keys_of_slide[slide]
        if not retired:
            return
        blocks = np.concatenate(retired)
        has = self._arena.written_for[blocks] <= number
        self._arena.release(blocks[~has])
        if version is not None and has.any():
            version.blocks.append(blocks[has])
