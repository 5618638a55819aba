"""The bundles that Triton serves: the named ones, or all of a model store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from launch_errors import LaunchError
from models_code import load_yaml

_DESCRIPTION = "bundle.yaml"
_SHORT = 12
"""Digits of the fingerprint in the names of a bundle's models: enough to distinguish bundles."""


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """The part of a bundle's description that the model repository needs."""

    directory: Path
    fingerprint: str
    texture_bits: int
    version: str

    @property
    def suffix(self) -> str:
        """End of the names of this bundle's models: several bundles are served side by side.

        The search service derives the same names from the bundle.
        """
        return f"-{self.fingerprint[:_SHORT]}"


def find_bundles(named: Sequence[Path], store: Path | None) -> tuple[BundleFacts, ...]:
    """Read the descriptions of all bundles to be served.

    Args:
        named: Bundles.
        store: A folder of bundles, which are all served.

    Raises:
        LaunchError: There is no bundle, one cannot be read, or two are the same model.
    """
    directories = list(named)
    if store is not None:
        directories += sorted(path.parent for path in store.glob(f"[!.]*/{_DESCRIPTION}"))
    if not directories:
        msg = (
            f"{store}: holds no bundle: build one with 'slidekin-server models build --out "
            f"{store}/NAME'"
            if store is not None
            else "nothing to serve: name a bundle (--bundle) or a model store (--store)"
        )
        raise LaunchError(msg)
    served: dict[str, BundleFacts] = {}
    for directory in directories:
        bundle = read_bundle(directory)
        twin = served.setdefault(bundle.suffix, bundle)
        if twin is not bundle:
            msg = (
                f"{twin.directory} and {bundle.directory} are the same model "
                f"({bundle.fingerprint[:_SHORT]}): leave one of them"
            )
            raise LaunchError(msg)
    return tuple(served.values())


def read_bundle(directory: Path) -> BundleFacts:
    """Read a bundle's description.

    Raises:
        LaunchError: There is no bundle, or it has another version.
    """
    path = directory / _DESCRIPTION
    try:
        content: Any = load_yaml(path.read_text(encoding="utf-8"))
        if content["schema"] != 1:
            msg = f"{path}: schema {content['schema']} is not known here: build the bundle anew"
            raise LaunchError(msg)
        return BundleFacts(
            directory=directory.resolve(),
            fingerprint=str(content["fingerprint"]),
            texture_bits=int(content["texture_bits"]),
            version=str(content["triton"]["version"]),
        )
    except OSError as error:
        msg = (
            f"{path}: cannot be read ({error.strerror}): build a bundle with "
            "'python -m slidekin_models build'"
        )
        raise LaunchError(msg) from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        msg = f"{path}: not a bundle's description ({error!r}): build the bundle anew"
        raise LaunchError(msg) from error
