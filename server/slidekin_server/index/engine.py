"""The index of one collection: online changes, one immutable version after another.

A change never modifies what a search may be reading. It writes new copies of the few blocks that it
alters and a new directory of all blocks, and publishes both in one assignment as the next version.
A search keeps the version it began with. A block is freed once no version that contains it is read
any more (`versions`). A snapshot therefore costs nothing to take, but should be dropped when its
query ends: until then it keeps all blocks of its version.

A place is found in the directory of first keys, a sorted array with one entry for about a hundred
patches. Even at ten million patches it stays in the processor's cache, where a binary search takes
a fraction of a microsecond, and a version of it is one copy of that array. `VebTree` answers the
same question over single keys in O(log log u) and changes in place, which suits one writer without
readers; its module says where each is better.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from slidekin_server.index import blocks as block_kernels
from slidekin_server.index.bulk import pack_slides
from slidekin_server.index.directory import Directory, SlideTable
from slidekin_server.index.errors import ParameterError, SlideExistsError, SlideNotFoundError
from slidekin_server.index.memory import BLOCK_PATCHES, Arena
from slidekin_server.index.parameters import check_codes
from slidekin_server.index.snapshot import IndexSnapshot
from slidekin_server.index.versions import Versions
from slidekin_server.values import PatchCodes

_NEVER: Final = 2**63 - 1


class CollectionIndex:
    """Keys, textures and owners of all patches of a collection, searchable while they change.

    The order of insertion is defined as ascending (slide number, patch index), so an index does not
    depend on the order in which slides were added. Any number of threads may call any method;
    changes wait for each other, and searches wait for nothing.
    """

    def __init__(self, texture_bits: int) -> None:
        """Make an empty index.

        Args:
            texture_bits: Width of all textures, a positive multiple of 64.

        Raises:
            ParameterError: The width does not fit.
        """
        if texture_bits <= 0 or texture_bits % 64:
            raise ParameterError("texture_bits", "must be a positive multiple of 64")
        self.texture_bits = texture_bits
        self._words = texture_bits // 64
        self._write_lock = threading.Lock()
        self._arena = Arena(self._words)
        self._keys_of_slide: dict[int, NDArray[np.int64]] = {}
        empty = np.empty(0, dtype=np.int64)
        nothing = np.empty(0, dtype=np.int32)
        directory = Directory(empty, nothing, nothing, self._arena.bases)
        table = SlideTable(empty, empty, nothing)
        self._versions = Versions(self._arena, self._keys_of_slide)
        self._current = self._version(0, directory, table, patches=0, slides=0)
        self._versions.publish(self._current)

    @classmethod
    def build(cls, texture_bits: int, slides: Iterable[tuple[int, PatchCodes]]) -> CollectionIndex:
        """Build an index from many slides at once. O(n).

        Slides are consumed as they come: an iterator need only hold a few in memory.

        Args:
            texture_bits: Width of all textures, a positive multiple of 64.
            slides: Numbers and codes, in any order.

        Raises:
            ParameterError: A slide's number or codes do not fit.
            SlideExistsError: Two slides have the same number.
        """
        index = cls(texture_bits)
        packed = pack_slides(texture_bits, slides)
        if not len(packed.numbers):
            return index
        index._arena = packed.arena
        index._keys_of_slide = packed.keys_of_slide
        table = _with_room(index._current.table, int(packed.numbers[-1]))
        table.added[packed.numbers] = 1
        table.patches[packed.numbers] = packed.counts
        directory = Directory(*packed.directory, packed.arena.bases)
        patches = int(packed.counts.sum(dtype=np.int64))
        index._versions = Versions(index._arena, index._keys_of_slide)
        slide_count = len(packed.numbers)
        index._current = index._version(1, directory, table, patches=patches, slides=slide_count)
        index._versions.publish(index._current)
        return index

    @property
    def version(self) -> int:
        """Number of the current version; grows by one with every change."""
        return self._current.version

    def __len__(self) -> int:
        """Return the number of patches."""
        return self._current.patches

    def __contains__(self, number: int) -> bool:
        """Return whether a slide is in the current version. O(1)."""
        current = self._current
        table = current.table
        return 0 <= number < len(table.added) and bool(
            table.added[number] <= current.version < table.removed[number]
        )

    def snapshot(self) -> IndexSnapshot:
        """Return the current version. O(1)."""
        return self._current

    def add_slide(self, number: int, codes: PatchCodes) -> None:
        """Add a slide's patches; searches see all of them or none. O(m log n + blocks).

        Args:
            number: The slide's number, 0..2**31 - 1; a number cannot be used twice.
            codes: Its patches.

        Raises:
            SlideExistsError: The number is, or was once, in use.
            ParameterError: The number or the codes do not fit.
        """
        self._change(None, number, codes)

    def remove_slide(self, number: int) -> None:
        """Remove a slide's patches; searches see all of them or none. O(m log n + blocks).

        Raises:
            SlideNotFoundError: There is no such slide.
        """
        self._change(number, None, None)

    def replace_slide(self, old: int, number: int, codes: PatchCodes) -> None:
        """Remove one slide and add another in the same version.

        Raises:
            SlideNotFoundError: There is no slide ``old``.
            SlideExistsError: ``number`` is, or was once, in use.
            ParameterError: The number or the codes do not fit.
        """
        self._change(old, number, codes)

    def _change(self, old: int | None, new: int | None, codes: PatchCodes | None) -> None:
        added = None
        if codes is not None:
            check_codes(new, codes, self.texture_bits)
            added = codes.keys.copy()
        with self._write_lock:
            current = self._current
            version = current.version + 1
            table, directory = current.table, current.directory
            patches, slides = current.patches, current.slides
            retired: list[NDArray[np.int32]] = []
            if new is not None:
                table = _with_room(table, new)
                if table.added[new] != _NEVER:
                    raise SlideExistsError(new)
            removed = None
            if old is not None:
                if old not in self:
                    raise SlideNotFoundError(old)
                removed = self._keys_of_slide[old]
                directory = self._rewrite(directory, old, removed, None, retired, version=version)
                patches, slides = patches - len(removed), slides - 1
            if new is not None and codes is not None and added is not None:
                directory = self._rewrite(
                    directory, new, added, codes.textures, retired, version=version
                )
                patches, slides = patches + len(added), slides + 1
            # Nothing may fail from here on: shared state changes together with the version.
            gone: list[tuple[int, int]] = []
            if old is not None:
                table.removed[old] = version
                gone.append((int(table.added[old]), old))
            if new is not None and added is not None:
                self._keys_of_slide[new] = added
                table.patches[new] = len(added)
                table.added[new] = version
            self._current = self._version(version, directory, table, patches=patches, slides=slides)
            self._versions.publish(self._current, retired, gone)
            del current
            self._versions.reclaim()

    def _rewrite(
        self,
        directory: Directory,
        number: int,
        slide_keys: NDArray[np.int64],
        textures: NDArray[np.uint8] | None,
        retired: list[NDArray[np.int32]],
        *,
        version: int,
    ) -> Directory:
        """Write the blocks that change when a slide is added (with textures) or removed."""
        if not len(slide_keys):
            return directory
        number = int(number)  # numba would compile again for each of numpy's integer types
        order = np.argsort(slide_keys, kind="stable")
        keys, patches = slide_keys[order], order.astype(np.int32)
        adding = textures is not None
        words = (
            np.empty((0, self._words), dtype=np.uint64)
            if textures is None
            else np.ascontiguousarray(textures[order]).view(np.uint64)
        )
        place = (directory.first_keys, directory.blocks, directory.counts, directory.bases)
        groups = block_kernels.plan(*place, self._words, keys, number, patches, 1 if adding else -1)
        new_blocks = self._arena.allocate(int(groups[:, 4].sum()), version)
        bases = self._arena.bases
        first_keys, blocks, counts = block_kernels.rewrite(
            directory.first_keys,
            directory.blocks,
            directory.counts,
            bases,
            self._words,
            groups,
            new_blocks,
            keys,
            number,
            patches,
            words,
            adding,
        )
        retired.extend(directory.blocks[begin:end] for begin, end in groups[:, :2].tolist())
        return Directory(first_keys, blocks, counts, bases)

    def _version(
        self, version: int, directory: Directory, table: SlideTable, *, patches: int, slides: int
    ) -> IndexSnapshot:
        return IndexSnapshot(
            version=version,
            texture_bits=self.texture_bits,
            directory=directory,
            arena=self._arena,
            table=table,
            keys_of_slide=self._keys_of_slide,
            patches=patches,
            slides=slides,
        )

    def _check(self) -> None:
        """Assert every invariant of the current version. O(n)."""
        with self._write_lock:
            current = self._current
            directory = current.directory
            in_use = np.concatenate([directory.blocks, *self._versions.kept_blocks])
            assert len(np.unique(in_use)) == len(in_use) == self._arena.used_blocks
            assert (directory.counts > 0).all()
            assert (directory.counts <= BLOCK_PATCHES).all()
            assert current.patches == directory.counts.sum()
            keys, slides, patches, changed = block_kernels.listing(
                directory.blocks, directory.counts, self._arena.bases, self._words
            )
            assert np.array_equal(
                np.lexsort((patches, slides, keys)), np.arange(current.patches)
            ), "patches are not sorted by key, slide and patch"
            ends = np.cumsum(directory.counts)
            begins = ends - directory.counts
            assert np.array_equal(directory.first_keys, keys[begins])
            is_other = np.diff(keys, prepend=-1) != 0
            is_other[begins] = True
            assert np.array_equal(changed, is_other), "a block's key changes are wrong"
            numbers = current.slide_numbers()
            assert len(numbers) == current.slides
            assert {*slides.tolist()} <= {*numbers.tolist()}
            for number in numbers.tolist():
                own = slides == number
                assert current.table.patches[number] == own.sum()
                assert np.array_equal(self._keys_of_slide[number][patches[own]], keys[own])


def _with_room(table: SlideTable, number: int) -> SlideTable:
    """Return a table with a row for a slide number; its size doubles, so that growing is rare."""
    have = len(table.added)
    if number < have:
        return table
    more = max(number + 1, min(2 * have, number + 2**20), 64) - have
    return SlideTable(
        np.append(table.added, np.full(more, _NEVER)),
        np.append(table.removed, np.full(more, _NEVER)),
        np.append(table.patches, np.zeros(more, dtype=np.int32)),
    )
