"""Start a real Triton on a real bundle, for every test that wants one.

The launcher runs under the Python of Triton's own environment: ``SLIDEKIN_TRITON_PYTHON``, else
``.venv-triton/bin/python``. It is tied to this process by a lifeline, so that nothing outlives the
tests even when they are killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from tests.paths import PROJECT

LAUNCHER = PROJECT / "deploy" / "triton" / "launcher.py"
_START_TIMEOUT_S = 180
_STOP_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class TritonState:
    """Where a running Triton listens: the launcher's state file."""

    pid: int
    triton_pid: int
    grpc_url: str
    http_url: str
    metrics_url: str
    bundles: tuple[Path, ...]
    fingerprints: tuple[str, ...]
    log: Path
    run_dir: Path

    @property
    def bundle(self) -> Path:
        """The first bundle, where only one is served."""
        return self.bundles[0]

    @property
    def fingerprint(self) -> str:
        """Of the first bundle."""
        return self.fingerprints[0]

    def model(self, base: str) -> str:
        """Triton's name of a model of the first bundle, for example of ``patch_encoder``."""
        return f"{base}-{self.fingerprint[:12]}"


def triton_python() -> Path:
    """The interpreter of Triton's environment."""
    named = os.environ.get("SLIDEKIN_TRITON_PYTHON")
    return Path(named) if named else PROJECT / ".venv-triton" / "bin" / "python"


def why_no_triton() -> str | None:
    """Why Triton cannot be started here, or None where it can."""
    python = triton_python()
    if python.is_file():
        return None
    return f"Triton's environment is missing: no {python} (make env, or SLIDEKIN_TRITON_PYTHON)"


def launcher_command(bundle: Path, run_dir: Path, *options: str) -> list[str]:
    """The launcher's command line, with its lifeline; of a bundle or of a store of several.

    The networks run in torch in fp32, to which tests compare to the bit, unless ``options`` name
    another runtime: of an option that is given twice, the last one counts.
    """
    is_store = bundle.is_dir() and not (bundle / "bundle.yaml").exists()
    return [
        str(triton_python()),
        str(LAUNCHER),
        "run",
        "--lifeline",
        f"--{'store' if is_store else 'bundle'}={bundle}",
        f"--run-dir={run_dir}",
        "--runtime=torch",
        "--precision=fp32",
        *options,
    ]


def start_launcher(
    bundle: Path, run_dir: Path, *options: str, within: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start the launcher; closing its standard input ends it.

    Args:
        bundle: What it serves: a bundle, or a store of several.
        run_dir: Folder of this instance.
        options: Of the launcher.
        within: Command that it is started by, for example into another network.
    """
    return subprocess.Popen(
        [*within, *launcher_command(bundle, run_dir, *options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_ready(launcher: subprocess.Popen[str], run_dir: Path) -> TritonState:
    """Wait for the launcher's state file; a launcher that ends instead fails with its words."""
    path = run_dir / "state.json"
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not path.exists():
        if launcher.poll() is not None:
            _, errors = launcher.communicate()
            raise RuntimeError(f"the launcher ended with {launcher.returncode}: {errors}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"Triton was not ready within {_START_TIMEOUT_S} s")
        time.sleep(0.05)
    content = json.loads(path.read_text(encoding="utf-8"))
    return TritonState(
        pid=content["pid"],
        triton_pid=content["triton_pid"],
        grpc_url=content["grpc_url"],
        http_url=content["http_url"],
        metrics_url=content["metrics_url"],
        bundles=tuple(Path(bundle["path"]) for bundle in content["bundles"]),
        fingerprints=tuple(bundle["fingerprint"] for bundle in content["bundles"]),
        log=Path(content["log"]),
        run_dir=run_dir,
    )


@contextlib.contextmanager
def running_triton(bundle: Path, run_dir: Path, *options: str) -> Iterator[TritonState]:
    """Triton on ``bundle`` while the context lasts."""
    with start_launcher(bundle, run_dir, *options) as launcher:
        try:
            yield wait_ready(launcher, run_dir)
        finally:
            launcher.terminate()
            launcher.communicate(timeout=_STOP_TIMEOUT_S)


def build_demo_bundle(out: Path) -> Path:
    """A random VQ-VAE, and EfficientNet-Lite0 with its packaged weights."""
    choice = {
        "vqvae": {"random": {"seed": 0}},
        "texture": {"package": "efficientnet-lite0"},
        "allow_random_weights": True,
    }
    return _build(choice, out)


def build_shipped_bundle(out: Path) -> Path:
    """The pair that ``make demo`` runs on: the networks that come with the project."""
    from slidekin_models.bundles.bundle import build_bundle  # noqa: PLC0415

    build_bundle(PROJECT / "deploy" / "demo" / "models.yaml", out)
    return out


def build_random_bundle(out: Path, *, texture: str, seed: int) -> Path:
    """A pair of random networks."""
    choice = {
        "vqvae": {"random": {"seed": seed}},
        "texture": {"random": {"architecture": texture, "seed": seed}},
        "allow_random_weights": True,
    }
    return _build(choice, out)


def build_golden_bundle(golden: Path, out: Path) -> Path:
    """The golden files' pair: both networks of SISH with the golden weights.

    The weights take the road of the published ones: written as their publishers write them, then
    imported.
    """
    import torch  # noqa: PLC0415 (tests that only want a running server need no torch)

    from slidekin_models.networks import seeded  # noqa: PLC0415
    from slidekin_models.weights import directories  # noqa: PLC0415

    work = out.parent / f"{out.name}-import"
    work.mkdir(parents=True)
    shapes = {
        name: json.loads((golden / f"{name}.json").read_text(encoding="utf-8"))["parameters"]
        for name in ("vqvae", "densenet121")
    }
    vqvae = seeded.seeded_tensors(shapes["vqvae"])
    released = {"model": {f"module.{name}": tensor for name, tensor in vqvae.items()}}
    torch.save(released, work / "model_9.pt")
    order = np.load(golden / "keys.npz")["semantic_order"]
    torch.save({old: int(new) for old, new in enumerate(order)}, work / "codebook_semantic.pt")
    directories.import_released_vqvae(
        work / "model_9.pt", work / "vqvae", work / "codebook_semantic.pt"
    )
    torch.save(seeded.seeded_tensors(shapes["densenet121"]), work / "densenet121.pth")
    directories.import_densenet121(work / "densenet121.pth", work / "densenet121")
    choice = {
        "vqvae": {"manifest": str(work / "vqvae" / "manifest.yaml")},
        "texture": {"manifest": str(work / "densenet121" / "manifest.yaml")},
    }
    return _build(choice, out)


def _build(choice: dict[str, object], out: Path) -> Path:
    from slidekin_models.bundles.bundle import build_bundle  # noqa: PLC0415

    out.parent.mkdir(parents=True, exist_ok=True)
    config = out.parent / f"{out.name}.yaml"
    config.write_text(yaml.safe_dump(choice), encoding="utf-8")
    build_bundle(config, out)
    return out
