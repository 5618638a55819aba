"""The index engine: keys, textures and owners of a collection's patches, and how they are searched.

Modules, from the ground up: ``compiled`` (what compiled code is made of), ``memory`` (blocks of
patches in segments), ``blocks`` (how the directory is rewritten), ``guided`` and ``exact`` (the two
searches), ``directory`` (what a version is made of), ``scan`` (the exact search on threads),
``snapshot`` (one version), ``bulk`` (building), ``engine`` (online changes), ``search`` (modes),
``warm`` (compiling ahead of the first search). ``veb`` is the van Emde Boas tree, ``veb_nodes`` its
compiled part.
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
