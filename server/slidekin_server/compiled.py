"""What makes compiled code: the decorators, and the types of the arrays that it takes.

Numba caches compiled functions in files. It recompiles a function if its own file changed, but not
if a file that it calls into changed: after a change of a function that kernels of other files call,
delete ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Int32s: TypeAlias = NDArray[np.int32]
Int64s: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]
Floats: TypeAlias = NDArray[np.float64]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile a function that Python calls; it releases the GIL and is cached between runs."""
    return cast(_Function, numba.njit(nogil=True, cache=True)(function))


def part(function: _Function) -> _Function:
    """Compile a function that kernels call."""
    return cast(_Function, numba.njit(nogil=True)(function))


def inlined(function: _Function) -> _Function:
    """Compile a function that is inlined into each kernel that calls it."""
    return cast(_Function, numba.njit(inline="always")(function))
