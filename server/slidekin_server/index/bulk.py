"""Building an index from many slides at once, in little more memory than it needs afterwards.

Textures go straight into the blocks, in order of arrival, so none of the caller's arrays is kept.
Once all keys are known, they are sorted, and the textures are reordered in place. Until then each
texture is stored in one piece, so that moving it moves a few cache lines; at the end the textures
of each block are rearranged word by word.
"""

# Compiled functions take columns one by one.
# ruff: noqa: PLR0917

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from slidekin_server.compiled import Int32s, Int64s, Words, inlined, kernel
from slidekin_server.index.errors import SlideExistsError
from slidekin_server.index.instructions import pointer, prefetch
from slidekin_server.index.memory import (
    BLOCK_PATCHES,
    FILL_PATCHES,
    Arena,
    block_address,
    patches_of,
    put_key,
    slides_of,
    texture_at,
    textures_of,
)
from slidekin_server.index.parameters import check_codes
from slidekin_server.index.places import Columns
from slidekin_server.values import PatchCodes

_CHUNK_PATCHES: Final = 2**15
"""Patches copied at a time: 4 MiB of textures, which stay in the cache."""
_WALKERS: Final = 16
"""Textures moved at the same time, so that their waits for memory overlap."""
_DIGIT_BITS: Final = 11


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Filled blocks, their directory, and the slides in them."""

    arena: Arena
    directory: Columns
    numbers: NDArray[np.int64]
    """Slide numbers, ascending."""
    counts: NDArray[np.int32]
    """Number of patches of each slide."""
    keys_of_slide: dict[int, NDArray[np.int64]]


def pack_slides(texture_bits: int, slides: Iterable[tuple[int, PatchCodes]]) -> Packed:
    """Fill blocks with slides in any order. O(n).

    Raises:
        ParameterError: A slide's number or codes do not fit.
        SlideExistsError: Two slides have the same number.
    """
    intake = _Intake(texture_bits)
    for number, codes in slides:
        intake.take(number, codes)
    intake.flush()
    arena, words = intake.arena, intake.arena.words
    keys = np.concatenate([np.empty(0, dtype=np.int64), *intake.keys])
    intake.keys.clear()
    numbers = np.array(intake.numbers, dtype=np.int64)
    counts = np.array(intake.counts, dtype=np.int32)
    starts = np.cumsum(counts, dtype=np.int64) - counts
    if (np.diff(numbers) <= 0).any():
        by_number = np.argsort(numbers, kind="stable")
        numbers, counts, starts = numbers[by_number], counts[by_number], starts[by_number]
        again = np.flatnonzero(np.diff(numbers) == 0)
        if len(again):
            raise SlideExistsError(int(numbers[again[0]]))
    bounds = zip(numbers.tolist(), starts.tolist(), (starts + counts).tolist(), strict=True)
    # Views: the keys of a slide that is removed later are freed only at the next start.
    keys_of_slide = {number: keys[begin:end] for number, begin, end in bounds}

    # By ascending slide number, patch by patch: the position of each patch, by arrival.
    slide_of = np.repeat(np.arange(len(numbers), dtype=np.int32), counts)
    arrivals = np.arange(len(keys), dtype=np.int32)
    ascending = np.cumsum(counts, dtype=np.int64) - counts
    if not np.array_equal(ascending, starts):
        arrivals += (starts - ascending).astype(np.int32)[slide_of]
    order, slide_of = _sorted_by_key(keys, arrivals, slide_of)
    blocks = np.arange(arena.used_blocks, dtype=np.int32)
    first_keys, block_counts = _write_columns(
        arena.bases, words, keys, order, slide_of, numbers.astype(np.int32), starts
    )
    del slide_of
    _put_textures_in_order(arena.bases, words, order)
    _stand_word_by_word(arena.bases, words, len(blocks))
    return Packed(arena, (first_keys, blocks, block_counts), numbers, counts, keys_of_slide)


class _Intake:
    """Collects slides: textures in blocks in order of arrival, keys and numbers in lists."""

    def __init__(self, texture_bits: int) -> None:
        self.arena = Arena(texture_bits // 64)
        self.keys: list[NDArray[np.int64]] = []
        self.numbers: list[int] = []
        self.counts: list[int] = []
        self._texture_bits = texture_bits
        self._waiting: list[tuple[int, PatchCodes]] = []
        self._waiting_patches = 0
        self._taken = 0

    def take(self, number: int, codes: PatchCodes) -> None:
        check_codes(number, codes, self._texture_bits)
        self._waiting.append((number, codes))
        self._waiting_patches += len(codes.keys)
        if self._waiting_patches >= _CHUNK_PATCHES:
            self.flush()

    def flush(self) -> None:
        """Copy the waiting slides; after this nothing refers to the caller's arrays."""
        if not self._waiting:
            return
        waiting, count = self._waiting, self._waiting_patches
        keys = np.concatenate([codes.keys for _, codes in waiting])
        textures = np.concatenate([codes.textures for _, codes in waiting]).view(np.uint64)
        self.keys.append(keys)
        self.numbers += [number for number, _ in waiting]
        self.counts += [len(codes.keys) for _, codes in waiting]
        begin, self._taken = self._taken, self._taken + count
        self._waiting, self._waiting_patches = [], 0
        self.arena.allocate(-(-self._taken // FILL_PATCHES) - self.arena.used_blocks)
        _take_textures(self.arena.bases, self.arena.words, begin, textures)


@inlined
def _texture_place(bases: Int64s, words: int, place: int) -> int:
    """Return the address of the one-piece texture of the patch at this place among all patches."""
    block = place // FILL_PATCHES
    address = block_address(bases, block, words)
    return texture_at(address, 0) + (place - block * FILL_PATCHES) * 8 * words


@inlined
def _words_at(address: int, words: int) -> Words:
    return carray(pointer(address), (words,), np.uint64)


@inlined
def _copy_texture(to: int, source: int, words: int) -> None:
    written, read = _words_at(to, words), _words_at(source, words)
    for word in range(words):
        written[word] = read[word]


@kernel
def _take_textures(bases: Int64s, words: int, begin: int, textures: Words) -> None:
    """Copy textures to consecutive places, starting at ``begin``."""
    for entry in range(len(textures)):
        to = _words_at(_texture_place(bases, words, begin + entry), words)
        for word in range(words):
            to[word] = textures[entry, word]


@kernel
def _sorted_by_key(keys: Int64s, arrivals: Int32s, slides: Int32s) -> tuple[Int32s, Int32s]:
    """Sort two columns stably by the keys of their patches. O(n), a radix sort.

    Args:
        keys: By arrival.
        arrivals: The patch of each entry, by arrival.
        slides: Column that is sorted along.

    Returns:
        ``arrivals`` and ``slides``, sorted.
    """
    size = len(arrivals)
    least, greatest = np.int64(0), np.int64(0)
    if size:
        least, greatest = keys.min(), keys.max()
    sorted_keys = keys[arrivals] - least
    other_keys = np.empty_like(sorted_keys)
    other_arrivals, other_slides = np.empty_like(arrivals), np.empty_like(slides)
    starts = np.empty(2**_DIGIT_BITS, dtype=np.int64)
    shift = 0
    while (greatest - least) >> shift:
        starts[:] = 0
        for entry in range(size):
            starts[(sorted_keys[entry] >> shift) & (2**_DIGIT_BITS - 1)] += 1
        begin = 0
        for digit in range(2**_DIGIT_BITS):
            count = starts[digit]
            starts[digit] = begin
            begin += count
        for entry in range(size):
            digit = (sorted_keys[entry] >> shift) & (2**_DIGIT_BITS - 1)
            to = starts[digit]
            starts[digit] += 1
            other_keys[to] = sorted_keys[entry]
            other_arrivals[to] = arrivals[entry]
            other_slides[to] = slides[entry]
        sorted_keys, other_keys = other_keys, sorted_keys
        arrivals, other_arrivals = other_arrivals, arrivals
        slides, other_slides = other_slides, slides
        shift += _DIGIT_BITS
        if shift >= 63:
            break
    return arrivals, slides


@kernel
def _write_columns(
    bases: Int64s,
    words: int,
    keys: Int64s,
    order: Int32s,
    slide_of: Int32s,
    numbers: Int32s,
    starts: Int64s,
) -> tuple[Int64s, Int32s]:
    """Write keys, slide numbers and patch indices of sorted patches into the blocks.

    Returns:
        The directory's first keys and counts.
    """
    size = (len(order) + FILL_PATCHES - 1) // FILL_PATCHES
    first_keys = np.empty(size, dtype=np.int64)
    counts = np.empty(size, dtype=np.int32)
    for block in range(size):
        begin = block * FILL_PATCHES
        end = min(begin + FILL_PATCHES, len(order))
        address = block_address(bases, block, words)
        slides, patches = slides_of(address, words), patches_of(address, words)
        for entry in range(begin, end):
            slide = slide_of[entry]
            put_key(address, entry - begin, words, keys[order[entry]])
            slides[entry - begin] = numbers[slide]
            patches[entry - begin] = order[entry] - starts[slide]
        first_keys[block] = keys[order[begin]]
        counts[block] = end - begin
    return first_keys, counts


@kernel
def _put_textures_in_order(bases: Int64s, words: int, order: Int32s) -> None:
    """Move the texture at place ``order[i]`` to place ``i``, for all i, in place. O(n).

    A permutation consists of cycles. Several walkers each save the texture at their start, which
    makes a hole, and fill the hole with the texture that belongs there. This leaves the next hole,
    and so on, until the texture that belongs there is one that a walker saved. A walker that is
    done starts again at a place that was not visited yet. ``order`` is overwritten: fixed points
    are done, negative entries are starts.
    """
    size = len(order)
    holes = np.full(_WALKERS, -1, dtype=np.int64)
    sources = np.empty(_WALKERS, dtype=np.int64)
    # There are as many saved textures as active walkers, but a walker may fill in another's.
    starts = np.full(_WALKERS, -1, dtype=np.int64)
    saved = np.empty((_WALKERS, words), dtype=np.uint64)
    begin_of_order = order.ctypes.data
    begin_of_saved = saved.ctypes.data
    scan, under_way = 0, 0
    while under_way or scan < size:
        for walker in range(_WALKERS):
            hole = holes[walker]
            if hole < 0:
                while scan < size and (order[scan] < 0 or order[scan] == scan):
                    scan += 1
                if scan == size:
                    continue
                free = 0
                while starts[free] >= 0:
                    free += 1
                starts[free] = scan
                place = _texture_place(bases, words, scan)
                _copy_texture(begin_of_saved + free * 8 * words, place, words)
                holes[walker] = scan
                following = int(order[scan])
                order[scan] = ~order[scan]
                under_way += 1
            else:
                source = sources[walker]
                following = int(order[source])
                to = _texture_place(bases, words, hole)
                if following < 0:
                    own = 0
                    while starts[own] != source:
                        own += 1
                    _copy_texture(to, begin_of_saved + own * 8 * words, words)
                    starts[own] = -1
                    holes[walker] = -1
                    under_way -= 1
                    continue
                _copy_texture(to, _texture_place(bases, words, source), words)
                holes[walker] = source
                order[source] = source
            sources[walker] = following
            prefetch(begin_of_order + 4 * following)
            ahead = _texture_place(bases, words, following)
            for line in range(0, 8 * words, 64):
                prefetch(ahead + line)


@kernel
def _stand_word_by_word(bases: Int64s, words: int, blocks: int) -> None:
    """Rearrange the textures of each block, stored one after the other, into columns. O(n)."""
    pieces = np.empty((BLOCK_PATCHES, words), dtype=np.uint64)
    for block in range(blocks):
        textures = textures_of(block_address(bases, block, words), words)
        pieces.ravel()[:] = textures.ravel()
        for word in range(words):
            for slot in range(BLOCK_PATCHES):
                textures[word, slot] = pieces[slot, word]
