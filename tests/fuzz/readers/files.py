"""Files that administrators bring along: labels, settings, models, snapshots."""

from __future__ import annotations

import json

import yaml
from tests.fuzz.readers import Reader, scratch_folder
from tests.paths import PROJECT
from tests.unit.server.made_bundles import bundle_content, write_bundle

from slidekin.cli._common import CommandError
from slidekin.cli._labels import read_labels
from slidekin_models.bundles.bundle import BUNDLE_NAME, BuildConfig, read_bundle
from slidekin_models.errors import ManifestError
from slidekin_models.shipped import shipped_manifest
from slidekin_models.weights.manifest import MANIFEST_NAME, read_manifest, read_yaml
from slidekin_server.bundle import BundleError, load_bundle
from slidekin_server.config import ConfigError, load_settings
from slidekin_server.storage import (
    DamagedSnapshotError,
    NewerSchemaError,
    SnapshotNotFoundError,
    Snapshots,
)
from slidekin_server.storage.snapshots import _digest

_FOLDER = scratch_folder("files")
_BUNDLE = write_bundle(_FOLDER / "bundle")
_SNAPSHOT = _FOLDER / "snapshots" / "20260101T000000000000Z-1"
_SNAPSHOT.mkdir(parents=True)
(_SNAPSHOT / "slidekin.db").write_bytes(b"")
_DEFAULTS = PROJECT / "server" / "slidekin_server" / "config" / "default.yaml"


def labels(data: bytes) -> None:
    """A label file."""
    file = _FOLDER / "labels.csv"
    file.write_bytes(data)
    try:
        found = read_labels(file)
    except CommandError as error:
        assert "labels.csv" in str(error)
        return
    for slide, row in found.items():
        assert slide == slide.strip() != ""
        assert row.line >= 1
        assert all(name and value for name, value in row.attributes.items())


def settings(data: bytes) -> None:
    """The service's settings, from a file and from the environment."""
    file = _FOLDER / "settings.yaml"
    file.write_bytes(data)
    value = data.decode("utf-8", "replace").replace("\0", "")
    variables = {
        f"SLIDEKIN_SERVER__{name}": value[:64]
        for name in ("LISTEN__PORT", "SHUTDOWN_GRACE_S", "TRITON__URL", "REFLECTION")
    }
    for source, environment in ((file, {}), (None, variables)):
        try:
            load_settings(source, environment)
        except ConfigError as error:
            assert str(error)


def service_bundle(data: bytes) -> None:
    """A bundle's facts, as the service reads them."""
    (_BUNDLE / "bundle.yaml").write_bytes(data)
    try:
        bundle = load_bundle(_BUNDLE, allow_random_weights=True)
    except BundleError:
        return
    assert len(bundle.semantic_order) == 128


def manifests(data: bytes) -> None:
    """A manifest, a choice of networks and a bundle, as the models' package reads them."""
    folder = _FOLDER / "model"
    folder.mkdir(exist_ok=True)
    for name in (MANIFEST_NAME, BUNDLE_NAME):
        (folder / name).write_bytes(data)
    for read in (
        lambda: read_manifest(folder),
        lambda: read_bundle(folder),
        lambda: read_yaml(folder / MANIFEST_NAME, BuildConfig),
    ):
        try:
            read()
        except ManifestError as error:
            assert str(folder) in str(error)


def snapshot(data: bytes) -> None:
    """A snapshot's manifest, with its checksum made right where it can be."""
    try:
        stated = json.loads(data)
        if isinstance(stated, dict):
            stated.pop("manifest_sha256", None)
            data = json.dumps({**stated, "manifest_sha256": _digest(stated)}).encode()
    except (ValueError, RecursionError):
        pass
    (_SNAPSHOT / "manifest.json").write_bytes(data)
    try:
        found = Snapshots(_SNAPSHOT.parent).read(_SNAPSHOT.name)
    except (DamagedSnapshotError, NewerSchemaError, SnapshotNotFoundError):
        return
    assert isinstance(found.name, str)
    assert found.create_time.tzinfo is not None
    assert min(found.sequence, found.slide_count, found.patch_count, found.size_bytes) >= 0


def _snapshot_seeds() -> list[bytes]:
    manifest = {
        "format": "slidekin snapshot 1",
        "name": _SNAPSHOT.name,
        "create_time": "2026-01-01T00:00:00+00:00",
        "schema": 1,
        "sequence": 1,
        "collection_count": 1,
        "slide_count": 1,
        "patch_count": 1,
        "damaged_slide_count": 0,
        "size_bytes": 0,
        "sha256": "0" * 64,
    }
    return [json.dumps(manifest).encode(), b"{}", b"[]", b'{"format": 1}', b"nul"]


READERS = {
    "labels": Reader(
        labels,
        lambda: [
            b"slide,patient,label\na,P-1,naevus\n",
            b"\xef\xbb\xbfslide;patient;label;site\na.svs;P;;skin\n\n;;;\n",
            b'slide\tpatient\tlabel\n"a\tb"\tP\t"x\ny"\n',
            b"slide,patient,label,\na,b,c,d,e\n",
        ],
        ("slidekin.cli._labels", "csv"),
        share=2,
    ),
    "settings": Reader(
        settings,
        lambda: [
            _DEFAULTS.read_bytes()[:4096],
            b"listen: {host: 127.0.0.1, port: 1}\nlimits:\n  max_k: 5\n",
            b"a: &a [1]\nb: *a\n",
            b"<<: {x: 1}\n? [1]\n: 2\n",
            b"shutdown_grace_s: .nan\n",
        ],
        ("slidekin_server.config.loading", "yaml"),
    ),
    "bundle": Reader(
        service_bundle,
        lambda: [yaml.safe_dump(bundle_content(), sort_keys=False).encode(), b"schema: 1\n"],
        ("slidekin_server.bundle", "yaml"),
    ),
    "manifest": Reader(
        manifests,
        lambda: [
            shipped_manifest("vqvae-small-tissue").read_bytes()[:4096],
            b"vqvae: {random: {seed: 0}}\ntexture: {package: efficientnet-lite0}\n",
            b"architecture: vqvae\n",
            b"architecture: [\n",
        ],
        ("slidekin_models.weights.manifest", "slidekin_models.bundles.bundle", "yaml"),
    ),
    "snapshot": Reader(
        snapshot, _snapshot_seeds, ("slidekin_server.storage.snapshots", "json"), share=2
    ),
}
