"""What compiled code is made of: decorators, names of arrays, instructions Numba does not offer.

Numba keeps compiled functions in files and compiles anew when a function's own file changed, not
when a file changed that it calls into. After a change here or in ``memory`` delete ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import carray, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Int32s: TypeAlias = NDArray[np.int32]
Int64s: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]

Columns: TypeAlias = tuple[Int64s, Int32s, Int32s]
"""A directory: first keys, block numbers and counts."""
Hits: TypeAlias = tuple[Int64s, Int32s, Int64s, Int32s]
"""Hits: keys, distances, slides, patch indices."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile what Python calls: without the interpreter's lock, and kept between runs."""
    return cast(_Function, numba.njit(nogil=True, cache=True)(function))


def part(function: _Function) -> _Function:
    """Compile what kernels call."""
    return cast(_Function, numba.njit(nogil=True)(function))


def inlined(function: _Function) -> _Function:
    """Compile what kernels call, into each of them."""
    return cast(_Function, numba.njit(inline="always")(function))


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
    # Read, keep in all caches, data.
    flags = [ir.Constant(number, flag) for flag in (0, 3, 1)]
    builder.call(prefetch, [builder.inttoptr(address, byte), *flags])
    return ir.Constant(ir.IntType(64), 0)


prefetch: Callable[[int], int] = _instruction(types.int64, _emit_prefetch)
"""Ask for the cache line at an address, which need not be valid, ahead of its use."""
pointer: Callable[[int], Any] = _instruction(
    types.voidptr, lambda builder, address: builder.inttoptr(address, ir.IntType(8).as_pointer())
)
"""Turn an address into a pointer."""
popcount: Callable[[np.uint64], np.uint64] = _instruction(
    types.uint64, lambda builder, word: builder.ctpop(word)
)
"""Count the bits of a word that are set."""
lowest_bit: Callable[[np.uint64], np.uint64] = _instruction(
    types.uint64, lambda builder, word: builder.cttz(word, _TRUE)
)
"""Return the place of a word's lowest bit that is set; the word must not be 0."""
highest_bit: Callable[[np.uint64], np.uint64] = _instruction(
    types.uint64, lambda builder, word: builder.sub(_63, builder.ctlz(word, _TRUE))
)
"""Return the place of a word's highest bit that is set; the word must not be 0."""

_VECTOR_WORDS = 8


def _vectors_differ(vectors: int) -> Callable[[int, int], int]:
    """Make a function that counts the bits in which so many vectors of words differ.

    One instruction counts those of eight words where the processor has it; LLVM's own vectoriser
    does not come upon it, which costs a factor of three. (Elsewhere LLVM makes the best of it.)
    """
    word = ir.IntType(64)
    vector = ir.VectorType(word, _VECTOR_WORDS)

    def emit(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
        def call(name: str, result: ir.Type, argument: ir.Value) -> ir.Value:
            signature = ir.FunctionType(result, [vector])
            function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
                builder.module, signature, name
            )
            return builder.call(function, [argument])

        total = ir.Constant(vector, None)
        for place in range(vectors):
            offset = [ir.Constant(word, place)]
            # Textures are aligned as words are; a vector is else expected to lie at 64 bytes.
            left, right = (
                builder.load(
                    builder.gep(builder.inttoptr(address, vector.as_pointer()), offset), align=8
                )
                for address in (one, other)
            )
            bits = call("llvm.ctpop.v8i64", vector, builder.xor(left, right))
            total = builder.add(total, bits)
        return call("llvm.vector.reduce.add.v8i64", word, total)

    def typing(_context: Any, one: types.Type, other: types.Type) -> Any:  # noqa: ANN401
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
            return emit(builder, *arguments)

        return types.int64(one, other), generate

    return cast(Callable[[int, int], int], intrinsic(typing))


_bits_of_8_words = _vectors_differ(1)
_bits_of_16_words = _vectors_differ(2)


@inlined
def distance_bits(one: int, other: int, words: int) -> int:
    """Count the bits in which the textures at two addresses differ."""
    if words == 2 * _VECTOR_WORDS:
        return _bits_of_16_words(one, other)
    bits = 0
    word = 0
    while word + _VECTOR_WORDS <= words:
        bits += _bits_of_8_words(one + 8 * word, other + 8 * word)
        word += _VECTOR_WORDS
    while word < words:
        left = carray(pointer(one + 8 * word), (1,), np.uint64)[0]
        right = carray(pointer(other + 8 * word), (1,), np.uint64)[0]
        bits += int(np.int64(popcount(left ^ right)))
        word += 1
    return bits
