"""A model store: listed, verified, one bundle active; what is wrong is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from slidekin_models.bundles.registry import STORE_NAME, activate, find_model, list_models
from slidekin_models.cli import app
from slidekin_models.errors import ManifestError, WeightsError


@pytest.fixture
def store(demo_bundle: Path, tmp_path: Path) -> Path:
    """Two bundles, of which the second is the first by another name and fingerprint."""
    shutil.copytree(demo_bundle, tmp_path / "first")
    shutil.copytree(demo_bundle, tmp_path / "second")
    description = yaml.safe_load((tmp_path / "second" / "bundle.yaml").read_text())
    description["fingerprint"] = "e" * 64
    (tmp_path / "second" / "bundle.yaml").write_text(yaml.safe_dump(description))
    (tmp_path / ".draft").mkdir()
    return tmp_path


def run(*arguments: object, code: int = 0) -> tuple[str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def test_bundles_are_listed_by_name_and_one_is_active(store: Path) -> None:
    told, warned = run("list", store)
    assert [line.split()[0] for line in told.splitlines()] == ["name", "first", "second"]
    assert "none is active" in warned
    told, _ = run("activate", store, "first")
    assert told.startswith("active: first (")
    assert [(model.name, model.active) for model in list_models(store)] == [
        ("first", True),
        ("second", False),
    ]
    told, warned = run("list", store)
    assert "*  first" in told
    assert "vqvae-random-0 (random)" in told or "(random)" in told
    assert not warned
    assert {path.name for path in store.iterdir()} == {".draft", "first", "second", STORE_NAME}


def test_a_store_of_one_bundle_needs_no_file(store: Path) -> None:
    shutil.rmtree(store / "second")
    assert [(model.name, model.active) for model in list_models(store)] == [("first", True)]


def test_a_bundle_is_meant_by_its_name_or_how_its_fingerprint_begins(store: Path) -> None:
    assert find_model(store, "second").name == "second"
    assert find_model(store, "EEEE").name == "second"
    for wanted, told in (("eee", "is no bundle"), ("third", "is no bundle")):
        with pytest.raises(ManifestError, match=told) as raised:
            find_model(store, wanted)
        assert "first (" in str(raised.value)


def test_a_bundle_that_is_not_sound_is_not_activated(store: Path) -> None:
    activate(store, "first")
    before = (store / STORE_NAME).read_bytes()
    with pytest.raises(ManifestError, match="does not describe the manifests"):
        activate(store, "second")
    weights = store / "first" / "vqvae" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError):
        activate(store, "first")
    assert (store / STORE_NAME).read_bytes() == before


def test_one_or_all_are_verified(store: Path) -> None:
    told, _ = run("verify", store / "first")
    assert "fingerprint" in told
    told, complained = run("verify", store, code=2)
    assert "first: sound" in told
    assert "second: " in complained
    assert "build anew" in complained
    shutil.rmtree(store / "second")
    run("verify", store)


def test_what_is_no_store_is_said(tmp_path: Path, store: Path) -> None:
    _, complained = run("list", tmp_path / "nowhere", code=2)
    assert "holds no bundle: build one" in complained
    (store / STORE_NAME).write_text("schema: 2\nactive: first\n")
    _, complained = run("list", store, code=2)
    assert "schema" in complained
    (store / STORE_NAME).unlink()
    _, complained = run("list", store, "--triton", "http://127.0.0.1:1", code=2)
    assert "cannot be asked" in complained
