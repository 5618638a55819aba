"""A model store: a folder of bundles, one of which is active: new collections use it.

``STORE/NAME/`` is a bundle; ``STORE/store.yaml`` names the active one. The launcher serves all
bundles, and the search service reads the file whenever it needs it; neither needs this package.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slidekin_models.bundles.bundle import BUNDLE_NAME, Bundle, read_bundle, verify_bundle
from slidekin_models.errors import ManifestError
from slidekin_models.weights.manifest import read_yaml, write_yaml

STORE_NAME = "store.yaml"
_SHORTEST = 4
"""Fewest digits of a fingerprint by which a bundle can be named."""


class StoreFile(BaseModel):
    """``store.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[1] = Field(default=1, alias="schema")
    active: str
    """Name of a bundle's folder in the store."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """One bundle of a store."""

    name: str
    """Of its folder."""
    directory: Path
    bundle: Bundle
    active: bool
    """Whether new collections use it."""


def list_models(store: Path) -> list[StoredModel]:
    """Read the descriptions of all bundles of a store, by name.

    A store with one bundle needs no file: that bundle is active.

    Raises:
        ManifestError: A description or the store's file is not valid, or there is no bundle.
    """
    folders = sorted(path.parent for path in store.glob(f"[!.]*/{BUNDLE_NAME}"))
    if not folders:
        msg = f"{store}: holds no bundle: build one with 'models build --out {store}/NAME'"
        raise ManifestError(msg)
    file = store / STORE_NAME
    active = read_yaml(file, StoreFile).active if file.exists() else None
    if active is None and len(folders) == 1:
        active = folders[0].name
    return [
        StoredModel(folder.name, folder, read_bundle(folder), active=folder.name == active)
        for folder in folders
    ]


def find_model(store: Path, wanted: str) -> StoredModel:
    """Return the bundle with a name, or with a fingerprint that begins so.

    Raises:
        ManifestError: There is none, or several; or as :func:`list_models`.
    """
    models = list_models(store)
    found = [model for model in models if model.name == wanted]
    if not found and len(wanted) >= _SHORTEST:
        found = [model for model in models if model.bundle.fingerprint.startswith(wanted.lower())]
    if len(found) != 1:
        known = ", ".join(f"{model.name} ({model.bundle.fingerprint[:12]})" for model in models)
        fault = "means several bundles" if found else "is no bundle of it"
        msg = f"{store}: {wanted!r} {fault}; it holds {known}"
        raise ManifestError(msg)
    return found[0]


def activate(store: Path, wanted: str) -> StoredModel:
    """Make a bundle the active one. It is verified first, and the file changes in one step.

    Raises:
        ManifestError: There is no such bundle, or its description does not fit its manifests.
        WeightsError: Its weights are missing or altered.
    """
    model = find_model(store, wanted)
    verify_bundle(model.directory)
    handle, draft = tempfile.mkstemp(prefix=".store-", dir=store)
    os.close(handle)
    try:
        Path(draft).chmod(0o644)
        write_yaml(StoreFile(active=model.name), Path(draft))
        Path(draft).replace(store / STORE_NAME)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return model
