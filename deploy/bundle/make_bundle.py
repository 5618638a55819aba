"""Write the bundle to install on a machine without a network: `make bundle` runs this.

The bundle is a folder, and a tar file of that folder::

    install.sh            checks everything, makes the environments; needs no network
    SHA256SUMS            of every other file
    VERSION
    wheels/               of both environments, including ours
    service.txt           the service's packages, pinned by hash; so is triton.txt
    models/bundle/        the networks, built
    deploy/, docs/        launcher, units, charts, dashboards, rules, pages
    server/               what Triton's models import
    images.txt            container images, for installations with containers
    sbom/                 CycloneDX, one file for each environment
    licences/             of every package

Before the bundle is complete, each environment is made once from it, without a package index. The
bill of materials and the licences are read from these environments.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ("service", "triton")
_MANIFEST = "SHA256SUMS"
_PAYLOAD = ("deploy", "docs", "server/slidekin_models")
_UNNEEDED = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "*.egg-info")


def main(
    out: Annotated[Path, typer.Option(help="Folder to write the bundle to.")],
    *,
    part: Annotated[
        list[str] | None, typer.Option(help="service or triton.", show_default="both")
    ] = None,
    extras: Annotated[str, typer.Option(help="Extras of our package.")] = "server,cli,tracing",
    torch_index_url: Annotated[
        str | None,
        typer.Option(envvar="TORCH_INDEX_URL", help="Package index for PyTorch."),
    ] = None,
    archive: Annotated[bool, typer.Option(help="Also write the tar file.")] = True,
) -> None:
    """Write the bundle."""
    parts = tuple(part or PARTS)
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"{unknown.pop()} is no part; parts are {', '.join(PARTS)}")
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    target = out.resolve() / f"slidekin-{version}-linux-x86_64"
    shutil.rmtree(target, ignore_errors=True)
    (target / "wheels").mkdir(parents=True)
    (target / "VERSION").write_text(f"{version}\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="slidekin-bundle-") as scratch:
        for one in parts:
            _say(f"packages of {one}")
            gathered = Path(scratch) / one
            if one == "service":
                own = _own_wheel(Path(scratch))
                lock = PROJECT / "deploy/environments/app.txt"
                wanted = ["--constraint", str(lock), f"{own}[{extras}]"]
            else:
                lock = PROJECT / "deploy/triton/requirements.txt"
                wanted = ["--no-deps", "--requirement", str(lock)]
                _gather(gathered, _torch(lock), torch_index_url)
            _gather(gathered, wanted, None)
            _pin(gathered, target / f"{one}.txt")
            for wheel in gathered.glob("*.whl"):
                shutil.move(wheel, target / "wheels" / wheel.name)
        _say("models")
        _build_models(target / "models" / "bundle")
        _copy_payload(target)
        (target / "images.txt").write_text(_image_list(), encoding="utf-8")
        _sum(target)
        _say("environments from the bundle, bills of materials, licences")
        root = Path(scratch) / "installed"
        _run("bash", target / "install.sh", f"--prefix={root}")
        for one in parts:
            _describe(target, one, root / "current" / one / "bin" / "python")
    _sum(target)
    if archive:
        with tarfile.open(f"{target}.tar", "w") as tar:
            tar.add(target, target.name)
    size = sum(file.stat().st_size for file in _files(target))
    _say(f"{target}: {size / 1e6:.0f} MB")


def _own_wheel(scratch: Path) -> Path:
    """Build our package from a copy, so that the source tree stays clean."""
    source = scratch / "source"
    for folder in ("client", "server"):
        shutil.copytree(PROJECT / folder, source / folder, ignore=_UNNEEDED)
    for file in ("pyproject.toml", "README.md", "docs/LICENSE"):
        (source / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / file, source / file)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", scratch, source)
    (wheel,) = scratch.glob("slidekin-*.whl")
    return wheel


def _torch(lock: Path) -> list[str]:
    (pin,) = re.findall(r"^torch==\S+", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return ["--no-deps", pin]


def _gather(folder: Path, wanted: Sequence[str], index: str | None) -> None:
    """Download wheels, or build those that exist only as source."""
    _pip(
        "wheel",
        *(["--index-url", index] if index else []),
        # Keep the build of PyTorch that was chosen before.
        *(["--find-links", folder] if folder.exists() else []),
        "--wheel-dir",
        folder,
        *wanted,
    )


def _pin(gathered: Path, requirements: Path) -> None:
    """Pin every wheel with its hash, so that no resolver chooses another."""
    lines = []
    for wheel in sorted(gathered.glob("*.whl")):
        name, version, *_ = wheel.name.split("-")
        lines.append(f"{name}=={version} --hash=sha256:{_sha256(wheel)}\n")
    requirements.write_text("".join(lines), encoding="utf-8")


def _build_models(out: Path) -> None:
    recipe = PROJECT / "deploy/demo/models.yaml"
    _run(sys.executable, "-m", "slidekin_models", "build", f"--config={recipe}", f"--out={out}")


def _copy_payload(target: Path) -> None:
    for folder in _PAYLOAD:
        shutil.copytree(PROJECT / folder, target / folder, ignore=_UNNEEDED)
    shutil.copyfile(PROJECT / "deploy/bundle/install.sh", target / "install.sh")
    (target / "install.sh").chmod(0o755)


def _image_list() -> str:
    """Return the list of container images, with the commands to transfer them."""
    dockerfile = (PROJECT / "deploy/docker/Dockerfile").read_text(encoding="utf-8")
    images = re.findall(r"^ARG \w+_IMAGE=(\S+)", dockerfile, re.MULTILINE)
    for compose in sorted((PROJECT / "deploy/compose").glob("*.yaml")):
        images += re.findall(r"^\s+image: (\S+)", compose.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [f"{image}\n" for image in dict.fromkeys(images)]
    return (
        "# Container images; the first ones are what slidekin's own are built from. On a machine\n"
        "# with a network: docker pull IMAGE, docker save IMAGE --output FILE. On the other one:\n"
        "# docker load --input FILE.\n" + "".join(lines)
    )


def _describe(target: Path, part: str, python: Path) -> None:
    """Write the bill of materials and the licences of an environment."""
    bill, licences = target / "sbom" / f"{part}.cdx.json", target / "licences" / f"{part}.md"
    for file in (bill, licences):
        file.parent.mkdir(exist_ok=True)
    _run(
        *(sys.executable, "-m", "cyclonedx_py", "environment", python),
        *("--output-reproducible", "--output-file", bill),
    )
    _run(
        *(sys.executable, "-m", "piplicenses", f"--python={python}", "--format=markdown"),
        *("--with-system", "--with-urls", "--from=mixed", f"--output-file={licences}"),
    )


def _sum(target: Path) -> None:
    manifest = target / _MANIFEST
    manifest.unlink(missing_ok=True)
    lines = [f"{_sha256(file)}  {file.relative_to(target)}\n" for file in _files(target)]
    manifest.write_text("".join(lines), encoding="utf-8")


def _files(target: Path) -> Iterable[Path]:
    return sorted(path for path in target.rglob("*") if path.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _pip(*arguments: str | Path) -> None:
    _run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments)


def _run(*command: str | Path) -> None:
    paths = [str(PROJECT / "client"), str(PROJECT / "server")]
    subprocess.run(
        [str(word) for word in command],
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def _say(text: str) -> None:
    typer.echo(f"bundle: {text}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
