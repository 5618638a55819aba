"""Versions of an index that are still read, and what is kept for them alone.

A block is part of every version from the one it was written for to the last one before the change
that took it out. It is kept on account of the newest of them that is still read. Once nobody reads
that one any more, it passes to the next older version that has it, or back to the arena where none
is read. A search that takes long hence keeps what its own version has, not all that came and went
meanwhile. The same holds for the keys of slides.
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
    """One that was read when last looked at."""

    number: int
    snapshot: weakref.ref[IndexSnapshot]
    blocks: list[NDArray[np.int32]] = field(default_factory=list)
    """That it has, and none of the later versions."""
    slides: list[tuple[int, int]] = field(default_factory=list)
    """The same of slides: the version that each came with, and its number."""


class Versions:
    """Gives back what no version has that is still read. Used by one writer at a time.

    Args:
        arena: Where the blocks go back to.
        keys_of_slide: What the keys of slides are deleted from.
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
        """Take up the next version.

        Args:
            snapshot: The version; others keep it for as long as they read it.
            blocks: What the version before has, or was written on the way, and this one has not.
            slides: Slides that the version before has and this one has not, each as the version
                it came with and its number.
        """
        self._keep(len(self._read) - 1, blocks, slides)
        self._read.append(_Version(snapshot.version, weakref.ref(snapshot)))

    def reclaim(self) -> None:
        """Take back what is kept for versions that nobody reads any more."""
        # From the newest: what one passes on may be passed on again at once.
        for place in reversed(range(len(self._read))):
            version = self._read[place]
            if version.snapshot() is None:
                del self._read[place]
                self._keep(place - 1, version.blocks, version.slides)

    @property
    def kept_blocks(self) -> list[NDArray[np.int32]]:
        """Blocks that are kept for other versions than the newest."""
        return [blocks for version in self._read for blocks in version.blocks]

    def _keep(
        self,
        place: int,
        retired: Sequence[NDArray[np.int32]],
        slides: Iterable[tuple[int, int]],
    ) -> None:
        """Keep for the version at a place what it has of these, and take back the rest."""
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
