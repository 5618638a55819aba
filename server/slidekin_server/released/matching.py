"""The two descriptions of a slide, in LATENT and in meta.pkl, held against each other."""

from __future__ import annotations

import heapq
from graphlib import CycleError, TopologicalSorter

import numpy as np

from slidekin_server.released.errors import SlideRefusedError
from slidekin_server.released.meta import Meta
from slidekin_server.values import PatchCodes


def check_equal(slide: str, latent: PatchCodes, published: PatchCodes) -> None:
    """Check that both describe the same patches, those of one key in the same order.

    Keys of ``latent`` come from its codes by the bundle's semantic order: where they are those of
    the published index, order and arithmetic are the published ones.

    Args:
        slide: What errors call it.
        latent: From LATENT, in the order of its files.
        published: From meta.pkl, sorted by key.

    Raises:
        SlideRefusedError: They differ; says in what.
    """
    if len(latent.keys) != len(published.keys):
        raise SlideRefusedError(
            f"{slide}: LATENT holds {len(latent.keys)} patches and meta.pkl {len(published.keys)}"
        )
    order = np.argsort(latent.keys, kind="stable")
    if not np.array_equal(latent.keys[order], published.keys):
        differing = len(np.setdiff1d(published.keys, latent.keys))
        raise SlideRefusedError(
            f"{slide}: {differing} keys of meta.pkl do not follow from its codes in LATENT and the "
            "bundle's semantic order; name the bundle of the model that made them"
        )
    for what, ours, theirs in (
        ("coordinates", latent.xy, published.xy),
        ("textures", latent.textures, published.textures),
    ):
        rows = np.flatnonzero((ours[order] != theirs).any(axis=1))
        if len(rows):
            raise SlideRefusedError(
                f"{slide}: the {what} of {len(rows)} patches differ between LATENT and meta.pkl, "
                f"the first at x {published.xy[rows[0]][0]}, y {published.xy[rows[0]][1]}"
            )


def insertion_order(meta: Meta) -> tuple[list[str], bool]:
    """Return the slides in an order in which adding them one by one gives meta.pkl's lists.

    Patches of one key stand in order of insertion, and the first of equally near ones is found:
    the order of slides decides ties, and nothing else.

    Returns:
        The slides, and whether there is such an order. There is none where slides were added in
        turns; they then come in order of first appearance.
    """
    same_key = meta.patches.keys[1:] == meta.patches.keys[:-1]
    other_slide = meta.slide_of[1:] != meta.slide_of[:-1]
    steps = np.flatnonzero(same_key & other_slide)
    graph: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(len(meta.slides)), ()))
    for before, after in {
        (int(meta.slide_of[step]), int(meta.slide_of[step + 1])) for step in steps
    }:
        graph.add(after, before)
    try:
        graph.prepare()
    except CycleError:
        return list(meta.slides), False
    # Of those that may come next, the one that appears first.
    ready = list(graph.get_ready())
    heapq.heapify(ready)
    order = []
    while ready:
        number = heapq.heappop(ready)
        order.append(meta.slides[number])
        graph.done(number)
        for follower in graph.get_ready():
            heapq.heappush(ready, follower)
    return order, True
