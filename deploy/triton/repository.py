"""The model repository that Triton loads, written from the templates in ``model_repository/``.

The embedded server and the GPU container share the templates; the bundles and the machine determine
the rest. Each bundle has its own networks and ensembles, whose names end with its fingerprint; all
share the decoder of images. Nothing here imports torch.
"""

from __future__ import annotations

import re
import shutil
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundles import BundleFacts
from launch_errors import LaunchError
from models_code import PACKAGE
from runtimes import AUTO, NETWORKS, ServedRuntime, choose_runtimes

TEMPLATES = Path(__file__).resolve().parent / "model_repository"
_CONFIG = "config.pbtxt"
_COMMON = frozenset({"image_decoder"})
"""Models that do not depend on a bundle."""
Served = Mapping[str, Mapping[str, ServedRuntime]]
"""By fingerprint and network."""
_KINDS = {"cpu": "KIND_CPU", "gpu": "KIND_GPU"}
_CODES = {
    "codes_step": '\n      input_map { key: "CODES" value: "CODES" }',
    "codes_input": ', { name: "CODES" data_type: TYPE_UINT8 dims: [ 64, 64 ] }',
    "codes_warmup": '\n    inputs { key: "CODES" '
    "value: { data_type: TYPE_UINT8 dims: [ 64, 64 ] zero_data: true } }",
}
"""On a CPU the codes are an input of the texture network, which ignores them, so that it runs after
the VQ-VAE: each network then has all cores for a lone patch, while two at once would wait for each
other's threads. On a GPU they run side by side."""


@dataclass(frozen=True, slots=True)
class RepositoryOptions:
    """The options of a machine for the repository."""

    bundle_path: str | None = None
    """Path of a bundle inside a container, as the models will see it; ``{name}`` stands for the
    name of its folder. None: its actual path."""
    device: str = "cpu"
    """``cpu`` or ``gpu``."""
    precision: str = AUTO
    runtime: str = AUTO
    """Both as ``runtimes`` chooses."""
    threads: int = 0
    """Threads of each network's operators on the CPU; 0: a suitable number for the runtime."""
    images_per_forward: int = 1
    """Patches that a network encodes in one step."""
    decoder_instances: int = 1
    """Processes that decode images."""
    response_cache: bool = False


def render_repository(
    bundles: Sequence[BundleFacts],
    out: Path,
    options: RepositoryOptions,
    served: Served | None = None,
) -> Served:
    """Write the model repository; an earlier repository in the folder is replaced.

    Args:
        bundles: The bundles to serve.
        out: Folder of the repository.
        options: The machine's options.
        served: How each network is served; None: as the options say.

    Returns:
        How each network is served.

    Raises:
        LaunchError: ``out`` holds something else, an option is unknown, or a runtime was not
            accepted.
    """
    if options.device not in _KINDS:
        msg = f"device: {options.device!r} is not known; known are {', '.join(_KINDS)}"
        raise LaunchError(msg)
    served = served or {
        bundle.fingerprint: choose_runtimes(
            bundle,
            device=options.device,
            runtime=options.runtime,
            precision=options.precision,
        )
        for bundle in bundles
    }
    models = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir())
    if out.exists():
        ours = re.compile(f"({'|'.join(models)})(-[0-9a-f]+)?")
        foreign = sorted(path.name for path in out.iterdir() if not ours.fullmatch(path.name))
        if foreign:
            msg = f"{out}: is no model repository of ours (holds {foreign[0]}): name another folder"
            raise LaunchError(msg)
        shutil.rmtree(out)
    for model in models:
        if model in _COMMON:
            _render(model, out / model, "1", _machine_values(options))
            continue
        for bundle in bundles:
            values = _machine_values(options) | {
                "bundle": _escaped(_path_inside(bundle, options)),
                "suffix": bundle.suffix,
                "texture_bits": str(bundle.texture_bits),
                **_runtime_values(model, served[bundle.fingerprint]),
            }
            _render(model, out / f"{model}{bundle.suffix}", bundle.version, values)
    return served


def _machine_values(options: RepositoryOptions) -> dict[str, str]:
    """Return the values of the templates that are the same for all bundles."""
    return {
        "kind": _KINDS[options.device],
        "threads": str(options.threads),
        "images_per_forward": str(options.images_per_forward),
        "decoder_instances": str(options.decoder_instances),
        "response_cache": str(options.response_cache).lower(),
        **{name: text if options.device == "cpu" else "" for name, text in _CODES.items()},
    }


def _runtime_values(model: str, served: Mapping[str, ServedRuntime]) -> dict[str, str]:
    """Return a network's own runtime, or for an ensemble those of all its networks."""
    if model in NETWORKS:
        return {"runtime": served[model].runtime, "precision": served[model].precision}
    return {
        f"{network}_{key}": value
        for network, chosen in served.items()
        for key, value in (("runtime", chosen.runtime), ("precision", chosen.precision))
    }


def _path_inside(bundle: BundleFacts, options: RepositoryOptions) -> str:
    if options.bundle_path is None:
        return str(bundle.directory)
    return options.bundle_path.replace("{name}", bundle.directory.name)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"')


def _render(model: str, target: Path, version: str, values: Mapping[str, str]) -> None:
    """Write one model of the repository."""
    # Triton wants a folder for the version even where an ensemble has nothing to put there.
    (target / version).mkdir(parents=True)
    template = string.Template((TEMPLATES / model / _CONFIG).read_text(encoding="utf-8"))
    (target / _CONFIG).write_text(template.substitute(values), encoding="utf-8")
    code = TEMPLATES / model / "1" / "model.py"
    if code.is_file():
        shutil.copyfile(code, target / version / "model.py")
        # The backend's interpreter is isolated: PYTHONPATH does not reach it, but a model's own
        # folder does. The repository is thereby whole, and each version keeps its code.
        # The weights that the package ships stay behind: a bundle brings its own.
        unneeded = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png")
        shutil.copytree(PACKAGE, target / version / PACKAGE.name, ignore=unneeded)
