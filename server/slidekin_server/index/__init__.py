"""The index engine: keys, textures and owners of a collection's patches, and searches in them.

Modules, from the bottom up: ``instructions`` (that Numba lacks), ``memory`` (blocks of patches in
segments), ``places`` (finding a key), ``blocks`` (rewriting the directory), ``walk``
(one walk of the guided search), ``guided`` and ``exact`` (the two searches), ``directory`` (the
parts of a version), ``scan`` (the exact search on threads), ``snapshot`` (one version),
``versions`` (freeing what no version needs), ``bulk`` (building), ``engine`` (online changes),
``search`` (modes), ``warm`` (compiling before the first search). ``veb`` is the van Emde Boas tree,
``veb_nodes`` its compiled part.
"""

from __future__ import annotations

from slidekin_server.index.admitted import Admitted
from slidekin_server.index.engine import CollectionIndex
from slidekin_server.index.errors import (
    IndexFailure,
    ParameterError,
    SlideExistsError,
    SlideNotFoundError,
)
from slidekin_server.index.parameters import GuidedParameters
from slidekin_server.index.search import SearchOptions, exact_bags, search_patch
from slidekin_server.index.snapshot import IndexSnapshot
from slidekin_server.index.veb import VebTree
from slidekin_server.index.warm import warm_up

__all__ = [
    "Admitted",
    "CollectionIndex",
    "GuidedParameters",
    "IndexFailure",
    "IndexSnapshot",
    "ParameterError",
    "SearchOptions",
    "SlideExistsError",
    "SlideNotFoundError",
    "VebTree",
    "exact_bags",
    "search_patch",
    "warm_up",
]
