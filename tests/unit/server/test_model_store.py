"""The models to serve: all bundles of a store, one of which is active at the moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.server.made_bundles import write_bundle
from tests.yaml_bomb import YAML_BOMB

from slidekin_server.bundle import BundleError, ModelBundle
from slidekin_server.model_store import ActiveModel, load_store

ONE, TWO = "11" * 32, "22" * 32


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "one", fingerprint=ONE)
    write_bundle(tmp_path / "two", fingerprint=TWO)
    return tmp_path


def load(store: Path) -> tuple[ModelBundle, ...]:
    return load_store(store, allow_random_weights=False)


def name_active(store: Path, text: str) -> None:
    (store / "store.yaml").write_text(text)


def test_all_bundles_are_loaded_under_names_of_their_own(store: Path) -> None:
    (store / ".half-made").mkdir()
    (store / "notes").mkdir()
    bundles = load(store)
    assert [(one.folder.name, one.fingerprint) for one in bundles] == [("one", ONE), ("two", TWO)]
    assert [one.encoder_model for one in bundles] == [
        f"patch_encoder-{digit * 12}" for digit in "12"
    ]
    assert bundles[0].raw_encoder_model == "patch_encoder_raw-111111111111"


def test_the_active_model_is_read_anew_each_time(store: Path) -> None:
    name_active(store, "{schema: 1, active: one}")
    active = ActiveModel(store, load(store))
    assert active() == ONE
    name_active(store, "{schema: 1, active: two}")
    assert active() == TWO


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[" * 500 + "]" * 500,
        "{schema: 2, active: one}",
        "{schema: 1, active: three}",
        "{schema: 1, active: [one]}",
        "{schema: 1}",
        YAML_BOMB,
    ],
)
def test_a_file_that_cannot_be_used_leaves_the_model_as_it_was(store: Path, text: str) -> None:
    name_active(store, "{schema: 1, active: two}")
    active = ActiveModel(store, load(store))
    name_active(store, text)
    assert active() == TWO
    with pytest.raises(BundleError, match=r"store\.yaml"):
        ActiveModel(store, load(store))


def test_one_bundle_is_active_without_being_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"names none .* models activate"):
        ActiveModel(store, load(store))
    bundles = load(store)[1:]
    assert ActiveModel(None, bundles)() == TWO
    assert ActiveModel(store, bundles)() == TWO


def test_a_store_that_cannot_be_served_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no bundle"):
        load(tmp_path / "nowhere")
    write_bundle(store / "again", fingerprint=ONE)
    with pytest.raises(BundleError, match=r"again.* and .*one are the same model \(111111111111\)"):
        load(store)


def test_random_weights_are_refused_unless_allowed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "random", random_weights=True)
    with pytest.raises(BundleError, match="random weights"):
        load(tmp_path)
    assert len(load_store(tmp_path, allow_random_weights=True)) == 1
