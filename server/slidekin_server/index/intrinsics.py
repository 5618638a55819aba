"""Single machine instructions that Numba does not offer by itself."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def pointer(_typing: Any, address: Any) -> Any:  # noqa: ANN401 - numba's own protocol
    """Turn an address into a pointer that `carray` takes."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


@intrinsic
def popcount(_typing: Any, word: Any) -> Any:  # noqa: ANN401 - numba's own protocol
    """Count the bits of an unsigned 64-bit word that are set: one instruction."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return builder.ctpop(arguments[0])

    return types.uint64(word), generate


@intrinsic
def lowest_bit(_typing: Any, word: Any) -> Any:  # noqa: ANN401 - numba's own protocol
    """Return the place of the lowest bit that is set; the word must not be 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(word), generate


@intrinsic
def highest_bit(_typing: Any, word: Any) -> Any:  # noqa: ANN401 - numba's own protocol
    """Return the place of the highest bit that is set; the word must not be 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        leading = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), leading)

    return types.uint64(word), generate
