"""``make bench-evaluation``: how well like finds like among the labelled tiles, as JSON lines.

    python -m tests.bench.tiles --out docs/evaluation/run.jsonl

Tiles are encoded once (about a second of CPU each and network) and kept in a cache outside the
checkout; everything after that takes minutes. `tests.bench.tiles.report` writes the page.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tests.bench.lines import describe_machine
from tests.bench.tiles import methods
from tests.bench.tiles.encode import Encoded, default_cache, encode_textures, encode_vqvae
from tests.bench.tiles.profile_search import (
    SPLIT_SEED,
    Encodings,
    Setting,
    renamed,
    search_parts,
    search_profile,
)
from tests.bench.tiles.service import Coded, answers, service
from tests.bench.tiles.tiles import Tile, halves, held_out, hundred, originals

from slidekin import Client, SearchOptions
from slidekin.evaluation import Answer, judge
from slidekin_models.networks.semantic import path_order, principal_order
from slidekin_models.shipped import shipped_manifest, shipped_models
from slidekin_models.weights.manifest import VqVaeManifest
from slidekin_server.codes import textures_from_features

BASELINE = "RGB histogram (3 x 32 bins, Hellinger)"
SHIPPED = "vqvae-small-tissue"
MODES = ("guided", "exact", "hybrid")
Line = dict[str, Any]


@dataclass(frozen=True)
class Networks:
    """What the networks say of a set of tiles."""

    lite: Encoded
    lite_own_size: Encoded
    lite_random: Encoded
    dense_random: Encoded
    vqvaes: tuple[Encoded, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines to write")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="encoded tiles")
    parser.add_argument(
        "--vqvae",
        type=Path,
        default=shipped_vqvae(),
        help="model directory of a trained VQ-VAE, beside the random one (default: the shipped)",
    )
    options = parser.parse_args()
    tiles = hundred()
    with options.out.open("w", encoding="utf-8") as out:
        write(out, {"machine": describe_machine(), "tiles": len(tiles)})
        networks = encoded(tiles, options.cache, options.vqvae)
        for line in representations(tiles, networks):
            write(out, line)
        with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as client:
            for line in rankings(client, tiles, networks, "tiles"):
                write(out, line)
            for line in settings(client, tiles, networks):
                write(out, line)
            small = originals()
            few = encoded(small, options.cache, options.vqvae)
            for line in rankings(client, small, few, "originals"):
                write(out, line)
            for line in parts(client, tiles, networks, "tiles"):
                write(out, line)
            for line in parts(client, small, few, "originals"):
                write(out, line)


def shipped_vqvae() -> Path | None:
    """The one that comes with the package, where it does."""
    return shipped_manifest(SHIPPED).parent if SHIPPED in shipped_models() else None


def write(out: TextIO, line: Line) -> None:
    text = json.dumps(line)
    print(text, flush=True)
    out.write(text + "\n")


def encoded(tiles: Sequence[Tile], cache: Path, vqvae: Path | None) -> Networks:
    """Through every network, or from the cache."""
    models = [None] if vqvae is None else [None, vqvae]
    return Networks(
        lite=encode_textures(tiles, "packaged", cache),
        lite_own_size=encode_textures(tiles, "packaged", cache, own_size=True),
        lite_random=encode_textures(tiles, "efficientnet-lite0", cache),
        dense_random=encode_textures(tiles, "densenet121", cache),
        vqvaes=tuple(encode_vqvae(tiles, model, cache) for model in models),
    )


def representations(tiles: Sequence[Tile], networks: Networks) -> Iterator[Line]:
    """Each by itself: all pairs compared, no index, no ranking."""
    lite, random = networks.lite.values, networks.lite_random.values
    dense = networks.dense_random.values
    makers: dict[str, Callable[[], list[Answer]]] = {
        BASELINE: lambda: methods.hellinger(tiles),
        "RGB histogram (tiles in their own size, L1)": lambda: methods.histogram_l1(tiles),
        "EfficientNet-Lite0 texture, 1280 bits": lambda: methods.hamming(tiles, lite),
        "EfficientNet-Lite0 features, cosine": lambda: methods.cosine(tiles, lite),
        "EfficientNet-Lite0 features, cosine, tiles in their own size": lambda: methods.cosine(
            tiles, networks.lite_own_size.values
        ),
        "EfficientNet-Lite0 texture, random weights": lambda: methods.hamming(tiles, random),
        "DenseNet-121 texture, 1024 bits, random weights": lambda: methods.hamming(tiles, dense),
    }
    for vqvae in networks.vqvaes:
        for order, ranks in orders(vqvae).items():
            makers[f"keys alone, {vqvae.manifest.name}, order by {order}"] = _keys(
                tiles, vqvae, ranks
            )
    for name, result in methods.judged(makers, BASELINE).items():
        yield methods.line("representation", name, result)
    unseen = held_out(tiles)
    subset = {
        name: (lambda make=make: [answer for answer in make() if answer.subject.slide_id in unseen])
        for name, make in makers.items()
        if name.startswith("keys alone") or name == BASELINE
    }
    for name, result in methods.judged(subset, BASELINE).items():
        yield methods.line("held out", name, result, queries=len(unseen))
    distances = methods.hamming_distances(textures_from_features(lite))
    yield {"kind": "distances", "name": "EfficientNet-Lite0", **_percentiles(distances)}


def rankings(
    client: Client, tiles: Sequence[Tile], networks: Networks, which: str
) -> Iterator[Line]:
    """The whole of slidekin: index and ranking, in each mode, through the public API."""
    pairs = [
        (texture, vqvae)
        for texture in (networks.lite, networks.dense_random)
        for vqvae in networks.vqvaes
    ]
    for texture, vqvae in pairs:
        manifest = vqvae.manifest
        assert isinstance(manifest, VqVaeManifest)
        coded = Coded.of(tiles, vqvae.values, manifest.semantic_order, texture.values)
        collection = f"{which}-{texture.manifest.name}-{manifest.name}"
        threshold = texture.manifest.hamming_threshold_bits
        coded.add_to(client, collection, threshold)
        asked = [("default", mode, SearchOptions()) for mode in MODES]
        asked.append(("sish-2022", "guided", SearchOptions(profile="sish-2022")))
        asked.append(("label-free", "hybrid", SearchOptions(ranking="label-free")))
        found = {}
        seconds = {}
        for profile, mode, options in asked:
            name = f"{profile} {mode}"
            given, seconds[name] = answers(client, collection, mode, options)
            found[name] = renamed(given)
        made = [*found.items(), (BASELINE, renamed(methods.hellinger(tiles)))]
        for result in judge(made, methods.SETTINGS, baseline=BASELINE):
            yield methods.line(
                "ranking",
                result.name,
                result,
                tiles=which,
                queries=len(tiles),
                texture=texture.manifest.name,
                vqvae=manifest.name,
                threshold_bits=threshold,
                median_ms=round(1000 * seconds.get(result.name, 0.0), 2),
            )


def settings(client: Client, tiles: Sequence[Tile], networks: Networks) -> Iterator[Line]:
    """The setting of the profile ``default`` that is best on half, with the last VQ-VAE."""
    vqvae = networks.vqvaes[-1]
    current = current_setting(networks, vqvae)
    for line in search_profile(
        client,
        Encodings(tiles, vqvae.values, orders(vqvae), networks.lite.values),
        halves(tiles, SPLIT_SEED),
        current=current,
    ):
        yield line if line["kind"] == "setting" else {**line, "vqvae": vqvae.manifest.name}


def current_setting(networks: Networks, vqvae: Encoded) -> Setting:
    """The profile ``default`` with the networks' own threshold and order."""
    manifest = vqvae.manifest
    assert isinstance(manifest, VqVaeManifest)
    width = networks.lite.values.shape[1]
    return Setting(
        order=next(n for n, order in orders(vqvae).items() if order == manifest.semantic_order),
        bits=width,
        threshold_percent=100 * networks.lite.manifest.hamming_threshold_bits / width,
        walk=(50, 10, 375),
        seed_key=True,
    )


def parts(client: Client, tiles: Sequence[Tile], networks: Networks, which: str) -> Iterator[Line]:
    """The parts of the chosen setting by themselves, with every VQ-VAE."""
    for vqvae in networks.vqvaes:
        manifest = vqvae.manifest
        assert isinstance(manifest, VqVaeManifest)
        coded = Coded.of(tiles, vqvae.values, manifest.semantic_order, networks.lite.values)
        current = current_setting(networks, vqvae)
        for line in search_parts(client, coded, f"{which}-{manifest.name}", current):
            yield {**line, "tiles": which, "vqvae": manifest.name}


def orders(vqvae: Encoded) -> dict[str, Sequence[int]]:
    """Semantic orders to compare; the manifest's is one of them."""
    manifest = vqvae.manifest
    assert isinstance(manifest, VqVaeManifest)
    assert vqvae.codewords is not None
    made: dict[str, Sequence[int]] = {
        "principal component": principal_order(vqvae.codewords),
        "path": path_order(vqvae.codewords),
    }
    if manifest.semantic_order not in made.values():
        made["manifest"] = manifest.semantic_order
    return made


def _keys(
    tiles: Sequence[Tile], vqvae: Encoded, order: Sequence[int]
) -> Callable[[], list[Answer]]:
    return lambda: methods.keys_alone(tiles, vqvae.values, order)


def _percentiles(distances: np.ndarray) -> Line:
    others = distances + np.eye(len(distances), dtype=np.int64) * 10**6
    pairs = distances[np.triu_indices(len(distances), 1)]
    return {
        "nearest": {str(p): float(np.percentile(others.min(axis=1), p)) for p in (10, 50, 90)},
        "all_pairs": {str(p): float(np.percentile(pairs, p)) for p in (1, 5, 15, 50)},
    }


if __name__ == "__main__":
    main()
