"""Write a script that builds TensorRT plans of a bundle, and a model repository for them.

Run with the Python of Triton's environment, after ``slidekin-server models export``::

    slidekin-server models export BUNDLE --out ONNX
    python deploy/triton/tensorrt/recipe.py --bundle BUNDLE --onnx ONNX --out OUT

Then, in NVIDIA's Triton container on the machine with the GPU that will serve, ``sh OUT/build.sh``
writes the plans into ``OUT/model_repository``. Each network is an ensemble of two plans: its trunk
in fp16, and the judgement after it in fp32. No plan has been built yet, since no GPU was available.
docs/runtimes.md says what is checked.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

sys.path.append(str(Path(__file__).resolve().parents[1]))

from bundles import BundleFacts, find_bundles
from launch_errors import LaunchError
from repository import RepositoryOptions, render_repository
from runtimes import ServedRuntime

MAX_BATCH = 8
PIXELS = "[ 1024, 1024, 3 ]"


@dataclass(frozen=True, slots=True)
class Network:
    """One network of the pair, as TensorRT needs it."""

    name: str
    maps: tuple[int, int, int]
    """Channels, height and width of the trunk's last map for one patch."""
    output: str
    datatype: str
    dims: str


def networks_of(bundle: BundleFacts) -> tuple[Network, Network]:
    """Return the pair of a bundle: maps are 16 and 32 times smaller than the patch of 1024 px."""
    bits = bundle.texture_bits
    return (
        Network("vqvae", (256, 64, 64), "CODES", "TYPE_UINT8", "[ 64, 64 ]"),
        Network("texture", (bits, 32, 32), "TEXTURE_FEATURES", "TYPE_FP32", f"[ {bits} ]"),
    )


def main(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    onnx: Annotated[Path, typer.Option(help="Folder that 'models export' wrote.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Write the script that builds TensorRT's plans, and the model repository around them."""
    try:
        (facts,) = find_bundles([bundle], None)
        pair = networks_of(facts)
        _require_onnx(facts, onnx)
        _require_free(out)
        repository = out / "model_repository"
        options = RepositoryOptions(bundle_path="/bundle", device="gpu", images_per_forward=8)
        by_tensorrt = {network.name: ServedRuntime("tensorrt", "fp16") for network in pair}
        render_repository([facts], repository, options, {facts.fingerprint: by_tensorrt})
        commands = [
            "#!/bin/sh",
            "# In NVIDIA's Triton container, on the machine with the GPU that will serve.",
            "set -e",
            'cd "$(dirname "$0")"',
        ]
        for network in pair:
            for half in ("trunk", "judgement"):
                source = onnx / network.name / f"{half}.onnx"
                shutil.copyfile(source, out / f"{network.name}_{half}.onnx")
            _write_network(repository, facts, network)
            commands += _build_commands(facts, network)
        (out / "build.sh").write_text("\n".join(commands) + "\n", encoding="utf-8")
    except LaunchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(code=error.exit_status) from error
    typer.echo(f"written to {out}: run build.sh there, then serve model_repository")


def _require_free(out: Path) -> None:
    if out.exists():
        msg = f"{out}: exists already: name another folder"
        raise LaunchError(msg)


def _require_onnx(bundle: BundleFacts, onnx: Path) -> None:
    for network in networks_of(bundle):
        for half in ("trunk", "judgement"):
            path = onnx / network.name / f"{half}.onnx"
            if not path.is_file():
                msg = (
                    f"{path} is missing: write it with 'slidekin-server models export "
                    f"{bundle.directory} --out {onnx}'"
                )
                raise LaunchError(msg)


def _build_commands(bundle: BundleFacts, network: Network) -> list[str]:
    pixels = "1024x1024x3"
    maps = "x".join(map(str, network.maps))
    folder = f"model_repository/{network.name}_{{half}}{bundle.suffix}/{bundle.version}"

    def build(half: str, given: str, shape: str, options: str) -> str:
        shapes = " ".join(
            f"--{kind}Shapes={given}:{count}x{shape}"
            for kind, count in (("min", 1), ("opt", MAX_BATCH), ("max", MAX_BATCH))
        )
        plan = f"{folder.format(half=half)}/model.plan"
        source = f"{network.name}_{half}.onnx"
        return f"trtexec --onnx={source} {shapes} {options} --saveEngine={plan}"

    formats = "--inputIOFormats=uint8:chw --outputIOFormats=fp32:chw"
    return [
        # The trunk outputs maps in fp32, whatever its own precision.
        build("trunk", "PIXELS", pixels, f"--fp16 {formats}"),
        build("judgement", "MAPS", maps, "--noTF32"),
    ]


def _write_network(repository: Path, bundle: BundleFacts, network: Network) -> None:
    suffix, version = bundle.suffix, bundle.version
    maps = f"[ {', '.join(map(str, network.maps))} ]"
    trunk, judgement = (f"{network.name}_{half}{suffix}" for half in ("trunk", "judgement"))
    given = f'{{ name: "PIXELS" data_type: TYPE_UINT8 dims: {PIXELS} }}'
    between = f'{{ name: "MAPS" data_type: TYPE_FP32 dims: {maps} }}'
    gives = f'{{ name: "{network.output}" data_type: {network.datatype} dims: {network.dims} }}'
    plan = (
        'name: "{name}"\nplatform: "tensorrt_plan"\nmax_batch_size: {batch}\n'
        "input [ {given} ]\noutput [ {gives} ]\n"
        "# No queue policy, here or anywhere.\n"
        "dynamic_batching {{}}\ninstance_group [ {{ count: 1 kind: KIND_GPU }} ]\n"
    )
    ensemble = (
        f'name: "{network.name}{suffix}"\nplatform: "ensemble"\nmax_batch_size: {MAX_BATCH}\n'
        f"input [ {given} ]\noutput [ {gives} ]\n"
        "ensemble_scheduling {\n  step [\n"
        f'    {{ model_name: "{trunk}" model_version: -1\n'
        '      input_map { key: "PIXELS" value: "PIXELS" }\n'
        '      output_map { key: "MAPS" value: "MAPS" } },\n'
        f'    {{ model_name: "{judgement}" model_version: -1\n'
        '      input_map { key: "MAPS" value: "MAPS" }\n'
        f'      output_map {{ key: "{network.output}" value: "{network.output}" }} }}\n'
        "  ]\n}\n"
    )
    configs = {
        trunk: plan.format(name=trunk, batch=MAX_BATCH, given=given, gives=between),
        judgement: plan.format(name=judgement, batch=MAX_BATCH, given=between, gives=gives),
        f"{network.name}{suffix}": ensemble,
    }
    for name, text in configs.items():
        folder = repository / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / version).mkdir(parents=True)
        (folder / "config.pbtxt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
