"""Compile, or load from the cache, all functions that a search or a change runs."""

from __future__ import annotations

import time

import numpy as np

from slidekin_server.index.admitted import Admitted
from slidekin_server.index.engine import CollectionIndex
from slidekin_server.index.search import SearchOptions, exact_bags, search_patch
from slidekin_server.values import PatchCodes, SearchMode

_SLIDES = 400
"""Half of their patches are too many to copy for a filter, and too many to pass one by one."""
_PATCHES = 60
_TEXTURE_BITS = 64


def warm_up() -> float:
    """Run every compiled function once; call it before the service reports that it is ready.

    The first time on a machine this compiles the functions, which takes ten to thirty seconds. The
    results are cached beside the modules (or in NUMBA_CACHE_DIR), and then it takes less than one
    second. The code does not depend on the width of textures: one warm-up serves all widths.

    Returns:
        Seconds it took.
    """
    begin = time.perf_counter()
    keys = np.arange(_PATCHES, dtype=np.int64)
    textures = np.zeros((_PATCHES, _TEXTURE_BITS // 8), dtype=np.uint8)
    codes = PatchCodes(keys, textures, np.zeros((_PATCHES, 2), dtype=np.int32))
    index = CollectionIndex.build(_TEXTURE_BITS, ((number, codes) for number in range(_SLIDES)))
    index.add_slide(_SLIDES, codes)
    index.remove_slide(_SLIDES)
    snapshot = index.snapshot()
    # One filter of each kind: few slides excluded, few admitted, and something in between.
    filters = (
        Admitted.all_except([0]),
        Admitted.only([0]),
        Admitted.only(range(_SLIDES // 2)),
    )
    for admitted in filters:
        for mode in SearchMode:
            search_patch(snapshot, 0, textures[0], SearchOptions(mode=mode), admitted)
        exact_bags(snapshot, textures[:1], slides_wanted=1, admitted=admitted)
    return time.perf_counter() - begin
