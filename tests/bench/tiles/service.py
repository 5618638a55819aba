"""The experiment's tiles in a real service, by their codes: searched through the public API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.bench.tiles.methods import KS
from tests.bench.tiles.tiles import Tile
from tests.service_process import ServiceProcess

from slidekin import Client, Codes, SearchOptions, Slide
from slidekin.evaluation import Answer, EvaluationSettings, evaluate
from slidekin_server.codes import keys_from_codes, textures_from_features

_FINGERPRINT = "ab" * 32
"""Of no model: the service serves none here."""


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Client]:
    """A search service without networks."""
    with ServiceProcess(folder) as process, Client(process.url) as client:
        yield client


@dataclass(frozen=True)
class Coded:
    """Tiles as codes."""

    tiles: Sequence[Tile]
    keys: NDArray[np.int64]
    textures: NDArray[np.uint8]

    @classmethod
    def of(
        cls,
        tiles: Sequence[Tile],
        codes: NDArray[np.uint8],
        order: Sequence[int],
        features: NDArray[np.float32],
        bits: int | None = None,
    ) -> Coded:
        """Of what the networks say; ``bits``: only the first so many features."""
        return cls(
            tiles,
            keys_from_codes(codes, np.array(order)),
            textures_from_features(features[:, : bits or features.shape[1]]),
        )

    def part(self, places: Sequence[int]) -> Coded:
        """Some of them."""
        return Coded([self.tiles[p] for p in places], self.keys[places], self.textures[places])

    @property
    def bits(self) -> int:
        return self.textures.shape[1] * 8

    def add_to(self, client: Client, collection: str, threshold_bits: int) -> None:
        """Make a collection of them, each a slide of one patch."""
        client.create_collection(
            collection,
            model_fingerprint=_FINGERPRINT,
            texture_bits=self.bits,
            hamming_threshold_bits=threshold_bits,
        )
        for place, tile in enumerate(self.tiles):
            here = slice(place, place + 1)
            client.add_slide_codes(
                Slide(
                    f"collections/{collection}/slides/{tile.tile_id}",
                    patient_id=tile.patient,
                    label=tile.label,
                ),
                Codes(self.keys[here], self.textures[here], np.zeros((1, 2), dtype=np.int32)),
                model_fingerprint=_FINGERPRINT,
            )


def answers(
    client: Client, collection: str, mode: str, options: SearchOptions
) -> tuple[list[Answer], float]:
    """What every tile finds, and the median seconds of a query in the service."""
    settings = EvaluationSettings(
        ks=KS,
        modes=(mode,),  # type: ignore[arg-type]
        options=options,
        resamples=1,
        examples=0,
        jobs=2,
    )
    (method,) = evaluate(client, collection, settings).methods
    return list(method.answers), method.median_query_s or 0.0
