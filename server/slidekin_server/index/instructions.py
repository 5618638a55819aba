"""Instructions that Numba lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _instruction(result: types.Type, emit: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Any:  # noqa: ANN401 - numba's own protocol
    def typing(_context: Any, operand: types.Type) -> Any:  # noqa: ANN401
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
            return emit(builder, arguments[0])

        return result(operand), generate

    return intrinsic(typing)


_TRUE = ir.Constant(ir.IntType(1), 1)
_63 = ir.Constant(ir.IntType(64), 63)


def _emit_prefetch(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    byte = ir.IntType(8).as_pointer()
    number = ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    prefetch = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, signature, "llvm.prefetch.p0"
    )
    # Read, keep from the second cache on, data.
    flags = [ir.Constant(number, flag) for flag in (0, 2, 1)]
    builder.call(prefetch, [builder.inttoptr(address, byte), *flags])
    return ir.Constant(ir.IntType(64), 0)


prefetch: Callable[[int], int] = _instruction(types.int64, _emit_prefetch)
"""Prefetch the cache line at an address, which need not be valid."""
pointer: Callable[[int], Any] = _instruction(
    types.voidptr, lambda builder, address: builder.inttoptr(address, ir.IntType(8).as_pointer())
)
"""Turn an address into a pointer."""
popcount: Callable[[np.uint64], np.uint64] = _instruction(
    types.uint64, lambda builder, word: builder.ctpop(word)
)
"""Count the set bits of a word."""
lowest_bit: Callable[[np.uint64], np.uint64] = _instruction(
    types.uint64, lambda builder, word: builder.cttz(word, _TRUE)
)
"""Return the position of a word's lowest set bit; the word must not be 0."""
highest_bit: Callable[[np.uint64], np.uint64] = _instruction(
    types.uint64, lambda builder, word: builder.sub(_63, builder.ctlz(word, _TRUE))
)
"""Return the position of a word's highest set bit; the word must not be 0."""

_LANES = 8
_WORD, _HALF = ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_WORD, _LANES)


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, argument: ir.Value) -> ir.Value:
    signature = ir.FunctionType(result, [argument.type])
    function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        builder.module, signature, name
    )
    return builder.call(function, [argument])


def _all_lanes(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    lane = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), word, _HALF(0))
    return builder.shuffle_vector(lane, lane, ir.Constant(ir.VectorType(_HALF, _LANES), None))


def _mask(builder: ir.IRBuilder, lanes: ir.Value) -> ir.Value:
    """Turn a boolean per lane into a word with a bit per lane."""
    return builder.zext(builder.bitcast(lanes, ir.IntType(_LANES)), _WORD)


def _emit_distances(  # noqa: PLR0917 - an instruction's operands
    builder: ir.IRBuilder,
    group: ir.Value,
    stride: ir.Value,
    query: ir.Value,
    words: ir.Value,
    out: ir.Value,
    bound: ir.Value,
) -> ir.Value:
    """Write the code of `add_distances`, which LLVM's own vectoriser does not find."""
    query_words = builder.inttoptr(query, _WORD.as_pointer())
    distances = builder.inttoptr(out, ir.VectorType(_HALF, _LANES).as_pointer())
    before = builder.zext(builder.load(distances, align=4), _VECTOR)
    # Two sums, so that an addition need not wait for the previous one.
    sums = [
        cgutils.alloca_once_value(builder, first)  # type: ignore[no-untyped-call]
        for first in (before, ir.Constant(_VECTOR, None))
    ]

    def add_word(place: ir.Value, total: ir.Value) -> None:
        line = builder.add(group, builder.mul(place, stride))
        stored = builder.load(builder.inttoptr(line, _VECTOR.as_pointer()), align=64)
        asked = builder.load(builder.gep(query_words, [place]), align=8)
        lanes = _all_lanes(builder, asked)
        bits = _call(builder, "llvm.ctpop.v8i64", _VECTOR, builder.xor(stored, lanes))
        builder.store(builder.add(builder.load(total), bits), total)

    with cgutils.for_range(builder, builder.lshr(words, _WORD(1))) as loop:
        place = builder.shl(loop.index, _WORD(1))
        add_word(place, sums[0])
        add_word(builder.add(place, _WORD(1)), sums[1])
    with builder.if_then(builder.trunc(words, ir.IntType(1))):
        add_word(builder.sub(words, _WORD(1)), sums[0])
    total = builder.add(builder.load(sums[0]), builder.load(sums[1]))
    builder.store(builder.trunc(total, ir.VectorType(_HALF, _LANES)), distances, align=4)
    return _mask(builder, builder.icmp_unsigned("<=", total, _all_lanes(builder, bound)))


def _add_distances() -> Callable[[int, int, int, int, int, int], np.uint64]:
    def typing(  # noqa: PLR0917
        _context: Any,  # noqa: ANN401
        group: types.Type,
        stride: types.Type,
        query: types.Type,
        words: types.Type,
        out: types.Type,
        bound: types.Type,
    ) -> Any:  # noqa: ANN401
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
            return _emit_distances(builder, *arguments)

        return types.uint64(group, stride, query, words, out, bound), generate

    return cast(Callable[[int, int, int, int, int, int], np.uint64], intrinsic(typing))


add_distances = _add_distances()
"""Count the bits in which words of each texture of a group differ from the query's.

Arguments: the address of the group's first word to compare (at a cache line), the bytes from there
to the next word, the address of the query's first word to compare, the number of words, the address
of eight int32 to which the counts are added, and a bound. Returns a bit for each texture whose sum
does not exceed the bound. On a processor that counts bits of vectors, a word of all eight textures
takes one load, one exclusive or and one count; elsewhere LLVM generates the best code it can.
"""

reversed_bits: Callable[[np.uint64], np.uint64] = _instruction(
    types.uint64, lambda builder, word: _call(builder, "llvm.bitreverse.i64", _WORD, word)
)
"""Return a word's bits in the opposite order."""
