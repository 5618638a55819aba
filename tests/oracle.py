"""The judge: search and ranking in the plainest Python that follows the published description.

A sorted list of distinct keys, ``bisect`` for successor and predecessor, a list of patches per
key. Slow, and short enough to be checked by reading. The engine is right where it agrees.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class OraclePatch:
    """One patch of the oracle's database."""

    key: int
    texture: int
    """All bits as one integer: the distance is a popcount of an exclusive or."""
    slide: int
    patch: int


@dataclass(frozen=True)
class OracleHit:
    """One hit: how far away, and what."""

    key: int
    distance: int
    slide: int
    patch: int


def bits_of(texture: np.ndarray) -> int:
    """Return packed texture bytes as one integer."""
    return int.from_bytes(texture.tobytes(), "big")


class OracleIndex:
    """An ordered set of keys and, for each key, its patches in order of insertion."""

    def __init__(self, patches: Iterable[OraclePatch]) -> None:
        self.patches_of: dict[int, list[OraclePatch]] = {}
        for patch in sorted(patches, key=lambda patch: (patch.slide, patch.patch)):
            self.patches_of.setdefault(patch.key, []).append(patch)
        self.keys = sorted(self.patches_of)

    def successor(self, x: int) -> int | None:
        """Return the smallest key > x."""
        place = bisect_right(self.keys, x)
        return self.keys[place] if place < len(self.keys) else None

    def predecessor(self, x: int) -> int | None:
        """Return the largest key < x."""
        place = bisect_left(self.keys, x)
        return self.keys[place - 1] if place else None

    def guided(
        self,
        q: int,
        texture: int,
        *,
        c: int,
        t: int,
        successor_steps: int,
        predecessor_steps: int,
        threshold: int,
        include_seed_key: bool = False,
        admits: Callable[[int], bool] = lambda _: True,
    ) -> list[OracleHit]:
        """Search as the published program does."""
        accepted: set[int] = set()
        hits: list[OracleHit] = []

        def look_at(key: int) -> bool:
            """Look at a key's admitted patches; say whether it has any."""
            best: OracleHit | None = None
            for patch in self.patches_of[key]:
                if admits(patch.slide):
                    distance = (patch.texture ^ texture).bit_count()
                    if best is None or distance < best.distance:
                        best = OracleHit(key, distance, patch.slide, patch.patch)
            if best is not None and best.distance <= threshold:
                accepted.add(key)
                hits.append(best)
            return best is not None

        def walk(seed: int, step: Callable[[int], int | None], steps: int) -> None:
            key, taken = step(seed), 0
            while key is not None and taken < steps and key not in accepted:
                taken += look_at(key)
                key = step(key)

        offset = c * 10**11
        for seed in [q - m * offset for m in range(t)] + [q + m * offset for m in range(t)]:
            if include_seed_key and seed in self.patches_of and seed not in accepted:
                look_at(seed)
            walk(seed, self.predecessor, predecessor_steps)
            walk(seed, self.successor, successor_steps)
        return sorted(hits, key=lambda hit: hit.distance)

    def exact(
        self,
        texture: int,
        *,
        limit: int,
        max_distance: int | None = None,
        admits: Callable[[int], bool] = lambda _: True,
        best_per_slide: bool = False,
    ) -> list[OracleHit]:
        """Look at everything: the nearest ``limit`` hits, ties in order of insertion."""
        hits = sorted(
            (
                OracleHit(key, (patch.texture ^ texture).bit_count(), patch.slide, patch.patch)
                for key, patches in self.patches_of.items()
                for patch in patches
                if admits(patch.slide)
            ),
            key=lambda hit: (hit.distance, hit.slide, hit.patch),
        )
        seen: set[int] = set()
        found = []
        for hit in hits:
            if max_distance is not None and hit.distance > max_distance:
                break
            if best_per_slide and hit.slide in seen:
                continue
            seen.add(hit.slide)
            found.append(hit)
        return found[:limit]


@dataclass
class OracleRanking:
    """What the published ranking says, step by step."""

    entropy: dict[int, float] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    threshold: float | None = None
    ranked: list[tuple[int, int, str, float, int]] = field(default_factory=list)
    """(slide, distance, label, entropy, query patch)"""


def label_weights(labels: Iterable[str], scale: float = 10.0) -> dict[str, float]:
    """Return w(l), proportional to 1 / (number of slides with label l), summing to ``scale``."""
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    inverse = {label: 1 / count for label, count in counts.items()}
    factor = scale / sum(inverse.values())
    return {label: value * factor for label, value in inverse.items()}


def rank(  # noqa: C901, PLR0912 - told from top to bottom, as it is published
    bags: Sequence[Sequence[OracleHit]],
    label_of: Callable[[int], str],
    weights: dict[str, float],
    k: int,
) -> OracleRanking:
    """Rank slides by weighted uncertainty, as the published program does."""
    result = OracleRanking()
    probabilities: dict[int, dict[str, float]] = {}
    for number, bag in enumerate(bags):
        if not bag:
            continue
        mass: dict[str, float] = {}
        for i, hit in enumerate(bag):
            label = label_of(hit.slide)
            mass[label] = mass.get(label, 0.0) + weights[label] * (1 / (i + 1))
        total = sum(mass.values())
        p = {label: value / total for label, value in mass.items()}
        probabilities[number] = p
        entropy = 0.0
        for value in p.values():
            entropy -= value * float(np.log2(value))
        result.entropy[number] = entropy

    kept = list(result.entropy)
    lengths = [len(bags[number]) for number in kept]
    if len(set(lengths)) > 3:
        low, high = np.percentile(lengths, [5, 95])
        kept = [number for number in kept if low < len(bags[number]) < high]
    if not kept:
        return result

    def first_five(number: int) -> float:
        return float(np.mean([hit.distance for hit in bags[number][:5]]))

    threshold = float(np.mean([first_five(number) for number in kept]))
    result.threshold = threshold
    kept.sort(key=lambda number: result.entropy[number])
    kept = [number for number in kept if first_five(number) <= threshold]
    result.kept = kept

    votes: dict[str, float] = {}
    for number in kept[:5]:
        for label, value in probabilities[number].items():
            votes[label] = votes.get(label, 0.0) + value
    for vote in sorted(votes, key=lambda label: -votes[label]):
        result.removed = [
            number
            for number in kept[:5]
            if max(probabilities[number], key=lambda label: probabilities[number][label]) != vote
        ]
        if len(result.removed) < len(kept[:5]):
            break

    listed: dict[int, tuple[int, int, str, float, int]] = {}
    for number in kept:
        entropy = result.entropy[number]
        for hit in bags[number]:
            if hit.slide not in listed and (entropy == 0 or hit.distance <= threshold):
                row = (hit.slide, hit.distance, label_of(hit.slide), entropy, number)
                listed[hit.slide] = row
    rows = sorted(listed.values(), key=lambda row: (row[3], row[1]))
    result.ranked = [row for row in rows if row[4] not in result.removed][:k]
    return result
