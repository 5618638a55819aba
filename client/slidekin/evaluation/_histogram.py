"""The baseline: colour histograms of the same patches, and nothing else.

What does not beat it has learned nothing that the stain does not say already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slidekin.evaluation._values import Answer, Found, Pair, Subject

BINS = 32
"""Of each of red, green and blue."""
_VALUES = 256 // BINS


@dataclass(frozen=True, slots=True, eq=False)
class PatchHistograms:
    """The histograms of one slide's patches."""

    xy: tuple[tuple[int, int], ...]
    """Top-left corners in level-0 pixels."""
    vectors: NDArray[np.float32]
    """Shape (patches, 96), see `histogram`."""

    @classmethod
    def of(cls, xy: Sequence[tuple[int, int]], images: Iterable[Image.Image]) -> PatchHistograms:
        """Look at patches (RGB) one after the other; at least one."""
        return cls(tuple(xy), np.stack([histogram(image) for image in images]))


def histogram(image: Image.Image) -> NDArray[np.float32]:
    """Square roots of the shares of 3 x 32 bins: of length 1, shape (96,).

    The scalar product of two such vectors is the Bhattacharyya coefficient of the histograms.
    """
    counts = np.array(image.histogram(), dtype=np.float64).reshape(3 * BINS, _VALUES).sum(axis=1)
    roots: NDArray[np.float64] = np.sqrt(counts / counts.sum())
    return roots.astype(np.float32)


def histogram_answers(
    subjects: Sequence[Subject], histograms: Sequence[PatchHistograms], k: int
) -> list[Answer]:
    """What each slide finds among the others by colour alone, its patient's slides left out.

    A slide is as far as the median, over the query's patches, of the distance to its nearest
    patch (as Yottixel compares slides: Kalra et al. 2020, doi 10.1016/j.media.2020.101757); the
    distance of two patches is Hellinger's, 0 to 1. Equally far slides are ordered by the mean,
    then as they are listed.

    Args:
        subjects: The slides.
        histograms: Of their patches, in the same order.
        k: Slides to list.
    """
    every = np.concatenate([slide.vectors for slide in histograms])
    starts = np.cumsum([0] + [len(slide.vectors) for slide in histograms])
    units: dict[tuple[str, str], int] = {}
    unit_of = np.array([units.setdefault(subject.unit, len(units)) for subject in subjects])
    answers = []
    for place, (subject, slide) in enumerate(zip(subjects, histograms, strict=True)):
        closeness = slide.vectors @ every.T
        nearest = np.maximum.reduceat(closeness, starts[:-1], axis=1)
        distances = np.sqrt(np.maximum(0.0, 1.0 - nearest))
        middle = np.median(distances, axis=0)
        # lexsort is stable and takes its last key first.
        order = np.lexsort((distances.mean(axis=0), middle))
        listed = order[unit_of[order] != unit_of[place]][:k]
        found = []
        for other in listed.tolist():
            block = closeness[:, starts[other] : starts[other + 1]]
            mine, theirs = np.unravel_index(int(block.argmax()), block.shape)
            pair = Pair(
                int(mine), slide.xy[int(mine)], int(theirs), histograms[other].xy[int(theirs)]
            )
            found.append(
                Found(subjects[other].name, subjects[other].label, float(middle[other]), pair)
            )
        answers.append(Answer(subject, tuple(found)))
    return answers
