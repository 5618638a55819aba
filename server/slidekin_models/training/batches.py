"""Batches of patches, read ahead of the step that needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slidekin_models.sampling import TissueSampler
from slidekin_models.training.augment import augmented
from slidekin_models.training.settings import AUGMENT_STREAM, TrainSettings

_AHEAD = 2
_READERS = 2


class Batches:
    """The batches of one process. A batch depends only on its step, so a run may begin at any step.

    The patches of a step are numbered over all processes: together they see what one process with
    the larger batch would see.
    """

    def __init__(self, sampler: TissueSampler, settings: TrainSettings, process: int = 0) -> None:
        self._sampler = sampler
        self._settings = settings
        self._process = process

    def batch(self, step: int) -> Tensor:
        """Patches of a step: (batch, side, side, 3) uint8."""
        settings = self._settings
        first = (step * settings.processes + self._process) * settings.batch
        patches = [self._patch(first + i) for i in range(settings.batch)]
        return torch.from_numpy(np.stack(patches))

    def from_step(self, first: int, end: int) -> Iterator[Tensor]:
        """The batches of steps ``first`` to ``end - 1``, read by threads a few steps ahead."""
        with ThreadPoolExecutor(_READERS, thread_name_prefix="patches") as readers:
            waiting: deque[Future[Tensor]] = deque()
            try:
                for step in range(first, end):
                    waiting.append(readers.submit(self.batch, step))
                    if len(waiting) > _AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def held_out(self, count: int, *, start: int = 0) -> Iterator[Tensor]:
        """Yield ``count`` patches that training never sees, unaugmented, in batches."""
        for first in range(start, start + count, self._settings.batch):
            size = min(self._settings.batch, start + count - first)
            patches = self._sampler.patches(size, start=first, held_out=True)
            yield torch.from_numpy(np.stack(list(patches)))

    def _patch(self, index: int) -> NDArray[np.uint8]:
        patch = self._sampler.patch(index)
        settings = self._settings
        if not settings.augment:
            return patch
        rng = np.random.default_rng([settings.seed, AUGMENT_STREAM, index])
        return augmented(patch, rng, settings.stain_jitter)
