"""The Dockerfile: linted, its sources there, its packages in the locks, its users without rights.

No engine builds it here. What its images run is run in tests/integration: the service's command in
deploy/test_bundle.py, Triton's in triton/test_container.py.
"""

from __future__ import annotations

import fnmatch
import re
import subprocess
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.deploy.dockerfile import Instruction, Stage, read_stages
from tests.paths import PROJECT
from tests.triton_stack import triton_python, why_no_triton

DOCKERFILE = PROJECT / "deploy/docker/Dockerfile"
STAGES = read_stages(DOCKERFILE)
IMAGES = ("service", "triton", "triton-cpu")
COPIES = [
    pytest.param(stage, copy, id=f"{stage.name}: {copy.text}")
    for stage in STAGES.values()
    for copy in stage.all("COPY")
]


def test_hadolint_finds_nothing():
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("stage", "copy"), COPIES)
def test_what_is_copied_is_there(stage: Stage, copy: Instruction):
    *sources, _ = copy.words()
    origin = copy.option("from")
    if origin is None:
        for source in sources:
            assert (PROJECT / source).exists()
            assert not is_ignored(source), f".dockerignore keeps {source} away"
    else:
        names = list(STAGES)
        assert names.index(origin) < names.index(stage.name)


def test_the_context_holds_no_more_than_is_wanted():
    for path in ("tests", ".git", ".venv", "docs/architecture.md", "deploy/helm", "Makefile"):
        assert is_ignored(path)
    assert is_ignored("server/slidekin_server/__pycache__")


def is_ignored(path: str) -> bool:
    """The last rule that says something of a path, or of a folder above it, counts."""
    parts = Path(path).parts
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for rule in (PROJECT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#"):
            pattern = rule.removeprefix("!").removeprefix("**/")
            if any(fnmatch.fnmatch(one, pattern) or Path(one).match(pattern) for one in above):
                ignored = not rule.startswith("!")
    return ignored


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_without_rights_and_says_how_it_is(name: str):
    stage = STAGES[name]
    assert stage.last("USER").text == "10001:10001"
    assert stage.last("ENTRYPOINT").text.startswith("[")
    assert stage.last("CMD").text.startswith("[")
    assert "CMD [" in stage.last("HEALTHCHECK").text
    labels = " ".join(one.text for one in stage.all("LABEL"))
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    # Nothing is installed but in the stages before.
    for run in stage.all("RUN"):
        assert not re.search(r"\b(pip|apt-get|curl|wget)\b", run.text)


def test_no_secret_is_asked_for():
    given = [
        one.text for stage in STAGES.values() for name in ("ARG", "ENV") for one in stage.all(name)
    ]
    assert given
    for text in given:
        assert not re.search("TOKEN|PASSWORD|SECRET|CREDENTIAL|API_KEY", text, re.IGNORECASE)


def test_images_are_named_with_their_version():
    for stage in STAGES.values():
        if stage.base not in STAGES:
            assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", stage.base), stage.base


def test_the_version_is_the_packages():
    version = re.search(
        r'^version = "(.+)"', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE
    )
    for name in IMAGES:
        assert f"VERSION={version[1]}" in [one.text for one in STAGES[name].all("ARG")]


def test_every_package_of_the_service_is_locked():
    (install,) = [one.text for one in STAGES["service-packages"].all("RUN") if "'.[" in one.text]
    extras = re.search(r"'\.\[([\w,]+)\]'", install)[1]
    installed = {canonicalize_name(one.name): one for one in distributions()}
    wanted = closure([Requirement(f"slidekin[{extras}]")], installed, "3.11")
    wanted -= {"slidekin"}
    assert {"grpcio", "numba", "opentelemetry-sdk", "pyyaml"} <= wanted
    assert wanted <= locked("deploy/environments/app.txt")


@pytest.mark.parametrize(("python", "without"), [("3.12", "nvidia-pytriton"), ("3.11", None)])
def test_every_package_of_triton_is_locked_for_its_python(python: str, without: str | None):
    reason = why_no_triton()
    if reason:
        pytest.skip(reason)
    folders = subprocess.run(
        [triton_python(), "-c", "import sys; print('\\n'.join(sys.path[1:]))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    installed = {canonicalize_name(one.name): one for one in distributions(path=folders)}
    lines = (PROJECT / "deploy/triton/requirements.in").read_text().splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert without is None or without in {one.name for one in asked}
    wanted = closure([one for one in asked if one.name != without], installed, python)
    assert {"torch", "numpy", "openvino", "pydantic-core"} <= wanted
    assert wanted <= locked("deploy/triton/requirements.txt")


def closure(asked: list[Requirement], installed: dict[str, Distribution], python: str) -> set[str]:
    """Names of all packages that some packages need, as the installed ones say."""
    markers = {"python_version": python, "python_full_version": f"{python}.0"}
    found: dict[str, set[str]] = {}
    while asked:
        one = asked.pop()
        name = canonicalize_name(one.name)
        extras = {"", *one.extras} - found.get(name, set())
        found.setdefault(name, set()).update(extras)
        for text in installed[name].requires or () if extras else ():
            need = Requirement(text)
            where = [{**markers, "extra": extra} for extra in extras]
            if need.marker is None or any(need.marker.evaluate(one) for one in where):
                asked.append(need)
    return set(found)


def locked(lock: str) -> set[str]:
    lines = (PROJECT / lock).read_text().splitlines()
    return {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line}
