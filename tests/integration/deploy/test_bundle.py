"""The air-gapped bundle: installed where there is no network, it serves; damaged, it is refused.

What is started is the command of the service's image, with its environment, on a read-only root
file system: the packages are those that the image holds. The bundle here has the service alone;
`make bundle-check` takes the whole one that `make bundle` wrote, Triton and models with it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.deploy.dockerfile import read_stages
from tests.paths import PROJECT

pytestmark = pytest.mark.timeout(900)

DRIVER = Path(__file__).with_name("from_bundle.py")
DEBIANS = "/usr/bin/python3.11"
NAMED = "SLIDEKIN_BUNDLE"
"""Variable with the folder of a whole bundle."""
# Everything but the folders that the image has is read-only; of the network only loopback is there.
ISOLATED = """
set -e
kept=$1
shift
ip link set lo up
for folder in /var/lib /var/cache /run; do mount -t tmpfs tmpfs $folder; done
mkdir -p /var/lib/slidekin /var/cache/slidekin /run/slidekin /run/kept
# Triton's Python backend writes to /tmp, where this test's own files may lie, too.
mount --bind "$kept" /run/kept
mount -t tmpfs tmpfs /tmp
mkdir -p "$kept"
mount --bind /run/kept "$kept"
mount -o remount,bind,ro /
exec "$@"
"""
UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


# The system's folders as they are, with what is written to them kept apart.
ASIDE = """
set -e
mount -t tmpfs tmpfs /opt
for folder in /etc /usr/lib/sysusers.d /usr/lib/tmpfiles.d; do
    aside=/opt/aside$folder
    mkdir -p $aside/upper $aside/work
    mount -t overlay overlay -o lowerdir=$folder,upperdir=$aside/upper,workdir=$aside/work $folder
done
"$@"
cd /opt/aside/etc/upper
find . -type f -path '*slidekin*' -printf '%P %m %g\\n'
"""


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    probe = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no namespaces here (they take root): {probe.stderr.strip()}")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get(NAMED)
    if named:
        return Path(named).resolve()
    folder = tmp_path_factory.mktemp("bundle")
    options = ["--part=service", "--extras=server,tracing", "--no-archive", f"--out={folder}"]
    script = PROJECT / "deploy/bundle/make_bundle.py"
    made = subprocess.run(
        [sys.executable, script, *options], capture_output=True, text=True, check=False
    )
    if made.returncode and "No matching distribution" in made.stderr:
        pytest.skip(f"no package index to make the bundle from: {made.stderr.splitlines()[-1]}")
    assert made.returncode == 0, made.stdout + made.stderr
    (made_of,) = folder.iterdir()
    return made_of


@pytest.fixture(scope="module")
def installed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installation, made without a network."""
    prefix = tmp_path_factory.mktemp("opt") / "slidekin"
    begin = time.monotonic()
    done = install(bundle, f"--prefix={prefix}")
    assert done.returncode == 0, done.stderr
    print(f"installed in {time.monotonic() - begin:.0f} s")
    return prefix / "current"


def install(bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*UNSHARE, bundle / "install.sh", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""},
    )


def test_it_serves_where_there_is_no_network(
    bundle: Path, installed: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    service = read_stages(PROJECT / "deploy/docker/Dockerfile")["service"]
    entry = service.last("ENTRYPOINT").words()
    _, _, health = service.last("HEALTHCHECK").text.partition("CMD ")
    commands = {
        "service": [*entry, *service.last("CMD").words()],
        "health": json.loads(health),
        "collection": {},
    }
    models = {"SLIDEKIN_SERVER__MODEL__BUNDLE": str(installed / "models/bundle")}
    if (installed / "triton").exists():
        launcher = installed / "deploy/triton/launcher.py"
        options = [f"--bundle={installed / 'models/bundle'}", "--work=/run/slidekin"]
        commands["triton"] = [
            *(str(installed / "triton/bin/python"), str(launcher), "serve"),
            *options,
        ]
    else:
        commands["service"].append("--codes-only")
        commands["collection"] = {
            "model_fingerprint": "ab" * 32,
            "texture_bits": 1024,
            "hamming_threshold_bits": 128,
        }
    kept = tmp_path_factory.getbasetemp()
    driver = shutil.copy(DRIVER, tmp_path)
    plan = tmp_path / "commands.json"
    plan.write_text(json.dumps(commands))
    variables = {**service.environment(), **models}
    variables["PATH"] = f"{installed / 'service/bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", ISOLATED, "sh", kept, "python", driver, plan],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["interfaces"] == ["lo"]
    assert seen["root_is_read_only"]
    assert seen["collections"] == ["collections/skin"]
    assert seen["version"] == (bundle / "VERSION").read_text().strip()
    assert set(seen["exit_codes"]) == {0}
    if "triton" in commands:
        assert seen["encoders"] == "ready"


def test_it_says_what_is_in_it(bundle: Path):
    parts = [part for part in ("service", "triton") if (bundle / f"{part}.txt").exists()]
    for part in parts:
        pinned = {
            line.split("==")[0].lower().replace("_", "-").replace(".", "-")
            for line in (bundle / f"{part}.txt").read_text().splitlines()
        }
        bill = json.loads((bundle / f"sbom/{part}.cdx.json").read_text())
        components = {
            one["name"].lower().replace("_", "-").replace(".", "-") for one in bill["components"]
        }
        assert bill["bomFormat"] == "CycloneDX"
        assert pinned <= components
        licences = (bundle / f"licences/{part}.md").read_text().lower()
        licences = licences.replace("_", "-").replace(".", "-")
        assert all(f"| {name} " in licences for name in pinned)
    assert (bundle / "models/bundle/bundle.yaml").exists()
    images = (bundle / "images.txt").read_text()
    stages = read_stages(PROJECT / "deploy/docker/Dockerfile")
    for base in {stage.base for stage in stages.values()} - stages.keys():
        assert f"\n{base}\n" in images


@pytest.fixture
def copy_of_the_bundle(bundle: Path, tmp_path: Path) -> Path:
    """Of the small files: what comes before packages are unpacked."""
    if os.environ.get(NAMED):
        pytest.skip("a small bundle shows it as well")
    return shutil.copytree(bundle, tmp_path / "bundle")


def test_a_damaged_file_is_named_and_nothing_is_installed(copy_of_the_bundle: Path, tmp_path: Path):
    wheel = next((copy_of_the_bundle / "wheels").glob("slidekin-*.whl"))
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    done = install(copy_of_the_bundle, f"--prefix={tmp_path / 'opt'}")
    assert done.returncode == 1
    assert f"wheels/{wheel.name}: FAILED" in done.stdout
    assert "the bundle is damaged" in done.stderr
    assert not (tmp_path / "opt").exists()


def test_a_file_that_was_added_is_named(copy_of_the_bundle: Path, tmp_path: Path):
    (copy_of_the_bundle / "wheels/evil-1.0-py3-none-any.whl").write_bytes(b"")
    done = install(copy_of_the_bundle, f"--prefix={tmp_path / 'opt'}")
    assert done.returncode == 1
    assert "wheels/evil-1.0-py3-none-any.whl is not in SHA256SUMS" in done.stderr


def test_a_part_that_is_not_in_it_is_named(copy_of_the_bundle: Path, tmp_path: Path):
    done = install(copy_of_the_bundle, f"--prefix={tmp_path / 'opt'}", "--parts=gpu")
    assert done.returncode == 1
    assert "this bundle has no part 'gpu'" in done.stderr


def test_users_units_and_settings_are_put_in_place(copy_of_the_bundle: Path):
    """Of the packages only ours: the others change nothing of that."""
    if shutil.which("systemd-sysusers") is None or not Path(DEBIANS).exists():
        pytest.skip(f"no systemd, or no {DEBIANS}: apt-get install systemd python3.11-venv")
    pinned = copy_of_the_bundle / "service.txt"
    (own,) = (line for line in pinned.read_text().splitlines() if line.startswith("slidekin=="))
    pinned.write_text(f"{own}\n")
    sums = copy_of_the_bundle / "SHA256SUMS"
    files = (line.split("  ", 1)[1] for line in sums.read_text().splitlines())
    sums.write_text(
        subprocess.run(
            ["sha256sum", *files],
            cwd=copy_of_the_bundle,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", ASIDE, "sh", copy_of_the_bundle / "install.sh", "--systemd"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHON": DEBIANS},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    placed = set(done.stdout.splitlines())
    assert {
        "slidekin/service.yaml 640 slidekin",
        "slidekin/triton.env 640 slidekin",
        "systemd/system/slidekin-server.service 644 root",
        "systemd/system/slidekin-snapshot.timer 644 root",
        "systemd/system/slidekin-triton.service 644 root",
    } <= placed
