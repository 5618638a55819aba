"""The networks alone, in a loop of this process: what the whole road is measured against."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tests.bench.encode_patches import PATCH_PX
from tests.bench.timing import each_ms

from slidekin_models.runtimes.choice import Machine, choose_runtime
from slidekin_models.runtimes.placement import REFERENCE, Placement
from slidekin_models.runtimes.serving import PatchEncoder, load_texture, load_vqvae

Pixels = NDArray[np.uint8]
CORES = len(os.sched_getaffinity(0))
IN_TURN = "one patch at a time, one network after the other, each on all cores"
AT_ONCE = "one patch at a time, both networks at once, each on all cores"
SIDE_BY_SIDE = "a patch on each core, one network after the other"
_LOADERS = {"vqvae": load_vqvae, "texture": load_texture}


@dataclass(frozen=True)
class Pair:
    """Both networks, loaded."""

    networks: Mapping[str, PatchEncoder]

    @classmethod
    def load(cls, bundle: Path, runtimes: Mapping[str, tuple[str, str]], threads: int) -> Pair:
        """Load both networks of a bundle.

        Args:
            bundle: The bundle.
            runtimes: Runtime and precision of each network.
            threads: Of each network.
        """
        return cls(
            {
                name: load(
                    bundle / name,
                    Placement(runtime=runtimes[name][0], precision=runtimes[name][1],
                              threads=threads),
                )
                for name, load in _LOADERS.items()
            }
        )  # fmt: skip

    def encode(self, pixels: Pixels) -> None:
        """Encode a patch, one network after the other."""
        for network in self.networks.values():
            network.encode(pixels)


@dataclass
class Bare:
    """The networks of a bundle in one choice of runtimes, in every arrangement of threads."""

    bundle: Path
    runtimes: Mapping[str, tuple[str, str]]
    """Runtime and precision of each network."""
    rates: dict[str, list[float]] = field(default_factory=dict)
    """Patches a second of every round so far, by arrangement."""

    def __post_init__(self) -> None:
        self._wide = Pair.load(self.bundle, self.runtimes, CORES)
        self._narrow = [Pair.load(self.bundle, self.runtimes, 1) for _ in range(CORES)]
        self._pool = ThreadPoolExecutor(max(CORES, len(_LOADERS)))
        # The first patch has a network compiled, which threads cannot do at the same time.
        for pair in (self._wide, *self._narrow):
            pair.encode(np.zeros((1, PATCH_PX, PATCH_PX, 3), np.uint8))

    @property
    def name(self) -> str:
        """The runtimes in words."""
        return ", ".join(f"{name} {' '.join(of)}" for name, of in self.runtimes.items())

    def in_turn(self, pixels: Pixels) -> None:
        """Encode a patch, one network after the other, each on all cores."""
        self._torch_threads(CORES)
        self._wide.encode(pixels)

    def at_once(self, pixels: Pixels) -> None:
        """Encode a patch, both networks at the same time, each on all cores."""
        list(self._pool.map(lambda one: one.encode(pixels), self._wide.networks.values()))

    def _side_by_side(self, patches: Sequence[Pixels]) -> None:
        def work(which: int) -> None:
            self._torch_threads(1)
            for pixels in patches[which::CORES]:
                self._narrow[which].encode(pixels)

        list(self._pool.map(work, range(CORES)))

    def _torch_threads(self, threads: int) -> None:
        # torch has one number for all networks of a process, OpenVINO one for each.
        if any(runtime.startswith("torch") for runtime, _ in self.runtimes.values()):
            torch.set_num_threads(threads)

    def _encode(self, arrangement: str, patches: Sequence[Pixels]) -> None:
        if arrangement == SIDE_BY_SIDE:
            self._side_by_side(patches)
            return
        one_patch = self.in_turn if arrangement == IN_TURN else self.at_once
        for pixels in patches:
            one_patch(pixels)

    def round(self, arrangement: str, patches: Sequence[Pixels], count: int) -> float:
        """Encode so many patches and return how many a second; they go round."""
        chosen = list(itertools.islice(itertools.cycle(patches), count))
        begin = time.perf_counter()
        self._encode(arrangement, chosen)
        rate = count / (time.perf_counter() - begin)
        self.rates.setdefault(arrangement, []).append(rate)
        return rate

    def best(self) -> str:
        """The arrangement that encoded most."""
        return max(self.rates, key=lambda name: max(self.rates[name]))

    def network_ms(self, patches: Sequence[Pixels]) -> dict[str, float]:
        """The median time of each network alone, on all cores."""
        return {
            name: float(np.median(each_ms(network.encode, [(one,) for one in patches])))
            for name, network in self._wide.networks.items()
        }


def default_runtimes(bundle: Path) -> dict[str, tuple[str, str]]:
    """What the launcher chooses on this machine, by network."""
    machine = Machine.this()
    return {name: choose_runtime(bundle / name, machine) for name in _LOADERS}


def eager_runtimes() -> dict[str, tuple[str, str]]:
    """torch as the networks are written, in fp32."""
    return dict.fromkeys(_LOADERS, REFERENCE)
