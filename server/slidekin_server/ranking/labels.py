"""The labels of slides, and their weights in the ranking."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


class SlideLabels:
    """Labels of a database's slides; the weight of a label depends on how common it is.

    Immutable: make it once for a version of the labels and use it for all queries.
    """

    def __init__(
        self, names: tuple[str, ...], ids: NDArray[np.int32], weights: NDArray[np.float64]
    ) -> None:
        """Take ready-made columns; `of` makes them.

        Args:
            names: The distinct labels.
            ids: By slide number: the label's position in ``names``, -1 for none.
            weights: By position in ``names``: w(l).
        """
        self.names = names
        self.weights: Mapping[str, float] = MappingProxyType(
            dict(zip(names, weights.tolist(), strict=True))
        )
        """w(l) by label."""
        self.weights_by_id = weights
        """w(l) by position in ``names``."""
        self._ids = ids

    @classmethod
    def of(cls, labels: Mapping[int, str | None], *, weight_scale: float = 10.0) -> SlideLabels:
        """Weigh labels: w(l) is proportional to 1 / (number of slides with label l).

        A rare label then counts for as much in a bag as a common one.

        Args:
            labels: By slide number, for every slide of the database; None or "" for no label.
            weight_scale: Sum of the weights; 10, or 30 for searches by anatomic site.

        Raises:
            ValueError: The scale is not positive.
        """
        if not weight_scale > 0:
            msg = f"weight_scale: must be positive, not {weight_scale}"
            raise ValueError(msg)
        ids = np.full(max(labels, default=-1) + 1, -1, dtype=np.int32)
        places: dict[str, int] = {}
        counts: list[int] = []
        for number, label in labels.items():
            if label:
                place = places.setdefault(label, len(places))
                if place == len(counts):
                    counts.append(0)
                counts[place] += 1
                ids[number] = place
        inverse = [1 / count for count in counts]
        total = 0.0
        for value in inverse:
            total += value
        weights = np.array([value * (weight_scale / total) for value in inverse], dtype=np.float64)
        return cls(tuple(places), ids, weights)

    def label(self, number: int) -> str | None:
        """Return a slide's label, None if it has none."""
        place = int(self._ids[number]) if 0 <= number < len(self._ids) else -1
        return self.names[place] if place >= 0 else None

    def ids(self, slides: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return positions in ``names`` by slide number, -1 for slides without a label."""
        known = slides < len(self._ids)
        ids = np.full(len(slides), -1, dtype=np.int32)
        ids[known] = self._ids[slides[known]]
        return ids
