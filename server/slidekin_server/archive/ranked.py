"""From the hits of all patches to the list of slides, filled up if the request allows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slidekin_server.archive.collection import View
from slidekin_server.archive.options import QueryOptions
from slidekin_server.archive.shortfall import Shortfall, held_shortfall, ranking_shortfalls
from slidekin_server.index import Admitted, exact_bags
from slidekin_server.ranking import RankedSlide, Ranking, RankingMethod, rank
from slidekin_server.values import Bag, PatchCodes, SearchMode


@dataclass(frozen=True, slots=True)
class Listed:
    """A slide of the answer."""

    slide: RankedSlide
    method: RankingMethod
    """The method that listed it."""


@dataclass(frozen=True, slots=True)
class RankedAnswer:
    """The slides found, best first, and how they were ranked."""

    slides: tuple[Listed, ...]
    shortfalls: tuple[Shortfall, ...]
    ranking: Ranking
    """The first ranking, before anything was filled up."""


def rank_slides(
    view: View,
    bags: Sequence[Bag],
    codes: PatchCodes,
    options: QueryOptions,
    *,
    admitted: Admitted | None,
    threshold_bits: int,
    scan_threads: int = 1,
) -> RankedAnswer:
    """Rank the slides that were hit.

    If ``options.fall_back`` allows it, a list shorter than k is filled up in two steps: with the
    label-free ranking of the same hits; then, in the modes HYBRID and EXACT, with the label-free
    ranking of a full scan for every patch, which takes each slide's best patch at any distance.
    The second step returns k slides whenever the collection holds k admitted ones. Slides that
    were filled up come after those of the first ranking.

    Args:
        view: The version of the collection in which the patches were searched.
        bags: Hits of every query patch.
        codes: The query's codes, one for each bag.
        options: The search's options.
        admitted: The slides admitted; None: all.
        threshold_bits: Hamming threshold of the search.
        scan_threads: Threads that share a full scan.
    """
    snapshot = view.snapshot
    labels = view.facts.labels(options.label_weight_sum)

    def ranked(found: Sequence[Bag], method: RankingMethod) -> Ranking:
        return rank(
            found,
            labels,
            k=options.k,
            texture_bits=snapshot.texture_bits,
            method=method,
            fall_back=False,
            evidence_limit=options.max_evidence_per_slide,
        )

    first = ranked(bags, options.ranking)
    listed = [Listed(slide, first.method) for slide in first.slides]
    admitted_slides = snapshot.admitted_slides(admitted)
    target = min(options.k, admitted_slides)
    held = held_shortfall(held=len(view.facts), admitted=admitted_slides, k=options.k)
    shortfalls = [held] if held else []
    shortfalls += ranking_shortfalls(bags, first, target=target, threshold_bits=threshold_bits)
    if options.fall_back and len(listed) < target:
        if first.method is not RankingMethod.LABEL_FREE:
            _fill(listed, ranked(bags, RankingMethod.LABEL_FREE), options.k)
        if len(listed) < target and options.mode is not SearchMode.GUIDED:
            scanned = exact_bags(
                snapshot,
                codes.textures,
                slides_wanted=options.k,
                admitted=admitted,
                threads=scan_threads,
            )
            _fill(listed, ranked(scanned, RankingMethod.LABEL_FREE), options.k)
    filled = len(listed) - len(first.slides)
    if filled and shortfalls:
        last = shortfalls[-1]
        shortfalls[-1] = Shortfall(
            last.reason, f"{last.message} The label-free ranking filled up {filled}."
        )
    return RankedAnswer(tuple(listed), tuple(shortfalls), first)


def _fill(listed: list[Listed], ranking: Ranking, k: int) -> None:
    """Append slides that are not listed yet, up to k in all."""
    seen = {entry.slide.slide for entry in listed}
    fresh = [slide for slide in ranking.slides if slide.slide not in seen]
    listed.extend(Listed(slide, ranking.method) for slide in fresh[: k - len(listed)])
