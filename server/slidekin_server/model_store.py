"""The models to serve: one bundle, or all bundles of a model store.

A store is a folder of bundles. Its file ``store.yaml`` names the active one, which new collections
take; ``slidekin-server models activate`` writes it, and it is read anew each time it matters, so
that another model becomes active without a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from slidekin_server.bundle import BundleError, ModelBundle, load_bundle
from slidekin_server.plain_yaml import load_yaml
from slidekin_server.telemetry import get_logger

_STORE_FILE = "store.yaml"
_SCHEMA = 1

_log = get_logger(__name__)


def load_store(folder: Path, *, allow_random_weights: bool) -> tuple[ModelBundle, ...]:
    """Read the facts of every bundle of a store, by name.

    Args:
        folder: The store.
        allow_random_weights: Accept networks with random weights.

    Raises:
        BundleError: There is none, one cannot be used, or two are the same model.
    """
    folders = sorted(path.parent for path in folder.glob("[!.]*/bundle.yaml"))
    if not folders:
        raise BundleError(
            f"{folder} holds no bundle: build one with 'slidekin-server models build --out "
            f"{folder}/NAME', or set model.store to the folder that holds them"
        )
    bundles: dict[str, ModelBundle] = {}
    for path in folders:
        bundle = load_bundle(path, allow_random_weights=allow_random_weights)
        twin = bundles.setdefault(bundle.fingerprint, bundle)
        if twin is not bundle:
            raise BundleError(
                f"{twin.folder} and {path} are the same model ({bundle.fingerprint[:12]}): leave "
                "one of them"
            )
    return tuple(bundles.values())


class ActiveModel:
    """Which of the served models new collections take, as the store's file says at the moment.

    Args:
        store: The store; None where one bundle is served, which is then the active one.
        bundles: What is served.

    Raises:
        BundleError: There are several, and the store does not name one of them.
    """

    def __init__(self, store: Path | None, bundles: Sequence[ModelBundle]) -> None:
        self._file = None if store is None else store / _STORE_FILE
        self._by_name = {bundle.folder.name: bundle.fingerprint for bundle in bundles}
        self._last = self._read()

    def __call__(self) -> str:
        """Return its fingerprint. Where the file cannot be used, as it was before."""
        try:
            self._last = self._read()
        except BundleError as error:
            _log.warning("active model unknown", problem=str(error))
        return self._last

    def _read(self) -> str:
        names = list(self._by_name)
        if self._file is None or (len(names) == 1 and not self._file.exists()):
            return self._by_name[names[0]]
        try:
            content = load_yaml(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            content = {"schema": _SCHEMA, "active": None}
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise BundleError(f"{self._file} cannot be read: {error}") from None
        if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
            raise BundleError(f"{self._file} is not of schema {_SCHEMA}: activate a model anew")
        active = content.get("active")
        if not isinstance(active, str) or active not in self._by_name:
            said = f"names {active!r}" if isinstance(active, str) else "names none"
            raise BundleError(
                f"{self._file} {said} as the model of new collections, served are "
                f"{', '.join(names)}: 'slidekin-server models activate {self._file.parent} NAME'"
            )
        return self._by_name[active]
