"""The model repository that Triton loads, written from the templates in ``model_repository/``.

The templates are what is shared by the embedded server and the GPU container; a bundle and the
machine decide the rest. Nothing here imports torch.
"""

from __future__ import annotations

import shutil
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TEMPLATES = Path(__file__).resolve().parent / "model_repository"
CODE = Path(__file__).resolve().parents[2] / "server" / "slidekin_models"
_CONFIG = "config.pbtxt"
_KINDS = {"cpu": "KIND_CPU", "gpu": "KIND_GPU"}


class LaunchError(Exception):
    """Triton cannot be started; the text says why and what to do."""

    exit_status = 1


class EnvironmentRefusedError(LaunchError):
    """The Python environment cannot serve Triton's models."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What of a bundle's description the repository depends on."""

    directory: Path
    fingerprint: str
    texture_bits: int
    version: str


@dataclass(frozen=True, slots=True)
class RepositoryOptions:
    """What of the machine the repository depends on."""

    bundle_path: str
    """Of the bundle, as the models will see it: another one inside a container."""
    device: str = "cpu"
    """``cpu`` or ``gpu``."""
    precision: str = "fp32"
    runtime: str = "torch"
    threads: int = 0
    """Of each network's operators on the CPU; 0: half of the cores, as two networks share them."""
    images_per_forward: int = 1
    """Patches that a network takes in one step."""
    decoder_instances: int = 1
    """Processes that decode images."""
    response_cache: bool = False


def read_bundle(directory: Path) -> BundleFacts:
    """Read a bundle's description.

    Raises:
        LaunchError: There is no bundle, or one of another version.
    """
    path = directory / "bundle.yaml"
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        msg = f"{path}: not a bundle's description ({error!r}): build the bundle anew"
        raise LaunchError(msg) from error


def render_repository(bundle: BundleFacts, out: Path, options: RepositoryOptions) -> None:
    """Write the model repository; one that was written here before is replaced.

    Raises:
        LaunchError: ``out`` holds something else, or an option is not known.
    """
    if options.device not in _KINDS:
        msg = f"device: {options.device!r} is not known; known are {', '.join(_KINDS)}"
        raise LaunchError(msg)
    models = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir())
    if out.exists():
        foreign = sorted(path.name for path in out.iterdir() if path.name not in models)
        if foreign:
            msg = f"{out}: is no model repository of ours (holds {foreign[0]}): name another folder"
            raise LaunchError(msg)
        shutil.rmtree(out)
    values = {
        "bundle": options.bundle_path.replace("\\", "\\\\").replace('"', '\\"'),
        "kind": _KINDS[options.device],
        "precision": options.precision,
        "runtime": options.runtime,
        "threads": str(options.threads),
        "images_per_forward": str(options.images_per_forward),
        "decoder_instances": str(options.decoder_instances),
        "response_cache": str(options.response_cache).lower(),
        "texture_bits": str(bundle.texture_bits),
    }
    for model in models:
        target = out / model
        # Triton wants a folder for the version even where an ensemble has nothing to put there.
        (target / bundle.version).mkdir(parents=True)
        template = string.Template((TEMPLATES / model / _CONFIG).read_text(encoding="utf-8"))
        (target / _CONFIG).write_text(template.substitute(values), encoding="utf-8")
        code = TEMPLATES / model / "1" / "model.py"
        if code.is_file():
            shutil.copyfile(code, target / bundle.version / "model.py")
            # The backend's interpreter is isolated: PYTHONPATH does not reach it, but a model's own
            # folder does. The repository is thereby whole, and each version keeps its code.
            shutil.copytree(
                CODE,
                target / bundle.version / CODE.name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
