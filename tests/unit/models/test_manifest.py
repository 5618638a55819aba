from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.yaml_bomb import YAML_BOMB

from slidekin_models.errors import ManifestError
from slidekin_models.weights.manifest import TextureManifest, VqVaeManifest, read_yaml, write_yaml

TEXTURE = TextureManifest(
    name="some",
    architecture="densenet121",
    source="here",
    licence="Apache-2.0",
    weights_sha256="0" * 64,
    preprocessing="v1",
    random_weights=False,
    texture_bits=1024,
    hamming_threshold_bits=128,
    threshold_note="said so",
)
VQVAE = VqVaeManifest(
    name="some",
    architecture="vqvae",
    source="here",
    licence="Apache-2.0",
    weights_sha256="0" * 64,
    preprocessing="v1",
    random_weights=False,
    semantic_order=list(reversed(range(128))),
)


@pytest.mark.parametrize("manifest", [TEXTURE, VQVAE])
def test_what_is_written_is_read_again(
    tmp_path: Path, manifest: TextureManifest | VqVaeManifest
) -> None:
    write_yaml(manifest, tmp_path / "manifest.yaml")
    assert read_yaml(tmp_path / "manifest.yaml", type(manifest)) == manifest


@pytest.mark.parametrize(
    ("manifest", "key", "value"),
    [
        (TEXTURE, "weights_sha256", "a639ec97"),
        (TEXTURE, "texture_bits", 1023),
        (TEXTURE, "texture_bits", None),
        (TEXTURE, "hamming_threshold_bits", 1025),
        (TEXTURE, "licence", ""),
        (TEXTURE, "random_weights", "perhaps"),
        (TEXTURE, "colour", "blue"),
        (VQVAE, "architecture", "densenet121"),
        (VQVAE, "semantic_order", [0] * 128),
        (VQVAE, "semantic_order", list(range(127))),
    ],
)
def test_a_fault_names_the_file_and_the_key(
    tmp_path: Path, manifest: TextureManifest | VqVaeManifest, key: str, value: object
) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest.model_dump() | {key: value}), encoding="utf-8")
    with pytest.raises(ManifestError) as raised:
        read_yaml(path, type(manifest))
    assert str(path) in str(raised.value)
    assert key in str(raised.value)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nothing\.yaml: cannot be read"):
        read_yaml(tmp_path / "nothing.yaml", TextureManifest)
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"bad\.yaml: not YAML"):
        read_yaml(tmp_path / "bad.yaml", TextureManifest)
    (tmp_path / "bomb.yaml").write_text(YAML_BOMB, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"bomb\.yaml: not YAML: aliases such as \*a0"):
        read_yaml(tmp_path / "bomb.yaml", TextureManifest)
