"""The systemd units: verified, shut in, and fitting the configuration and the bundle.

Verified by systemd's own tools, off line: that they start on a machine was not tried here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.paths import PROJECT

from slidekin_server.config import load_settings

FOLDER = PROJECT / "deploy/systemd"
UNITS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".service", ".timer"))
SERVICES = [name for name in UNITS if name.endswith(".service")]
PREFIX = "/opt/slidekin/current"
MOST_EXPOSURE = 15
"""Tenths, of 100. A service that says nothing has 96."""


def tool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def commands(unit: str) -> list[str]:
    return re.findall(r"^ExecStart=(.*)$", (FOLDER / unit).read_text(), re.MULTILINE)


def test_there_are_the_service_triton_and_the_snapshot():
    assert UNITS == [
        "slidekin-server.service",
        "slidekin-snapshot.service",
        "slidekin-snapshot.timer",
        "slidekin-triton.service",
    ]


def test_systemd_finds_nothing_wrong(tmp_path: Path):
    """With programs in place of those of an installation: systemd looks whether they are there."""
    installed = tmp_path / "opt"
    for unit in SERVICES:
        for command in commands(unit):
            program = installed / command.split()[0].removeprefix(f"{PREFIX}/")
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
    units = tmp_path / "units"
    units.mkdir()
    for name in UNITS:
        text = (FOLDER / name).read_text().replace(PREFIX, str(installed))
        (units / name).write_text(text)
    done = tool("verify", "--man=no", *(units / name for name in UNITS))
    complaints = [
        line for line in done.stderr.splitlines() if str(units) in line or "slidekin" in line
    ]
    assert done.returncode == 0, done.stderr
    assert complaints == []


def test_the_verification_would_find_a_fault(tmp_path: Path):
    faulty = tmp_path / "slidekin-server.service"
    faulty.write_text((FOLDER / faulty.name).read_text())
    done = tool("verify", "--man=no", faulty)
    assert done.returncode != 0
    assert f"{PREFIX}/service/bin/slidekin-server is not executable" in done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_shut_in(unit: str):
    options = ("--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager")
    done = tool("security", *options, FOLDER / unit)
    assert done.returncode == 0, done.stdout.splitlines()[-1:]
    assert tool("security", "--offline=true", "--threshold=1", FOLDER / unit).returncode != 0


def test_the_users_of_the_units_are_made():
    users = set(re.findall(r"^u (\S+)", (FOLDER / "slidekin.sysusers").read_text(), re.MULTILINE))
    wanted = {
        name
        for unit in SERVICES
        for name in re.findall(r"^(?:User|Group)=(.*)$", (FOLDER / unit).read_text(), re.MULTILINE)
    }
    assert wanted == users


def test_users_and_folders_can_be_made(tmp_path: Path):
    (tmp_path / "etc").mkdir()
    for program, file in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: apt-get install systemd")
        create = ["--create"] if file == "tmpfiles" else []
        done = subprocess.run(
            [program, f"--root={tmp_path}", *create, FOLDER / f"slidekin.{file}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "etc/slidekin/tls").stat().st_mode & 0o777 == 0o750
    assert "slidekin-triton:" in (tmp_path / "etc/passwd").read_text()


def test_the_configuration_is_one_and_is_closed_to_strangers():
    settings = load_settings(FOLDER / "service.yaml", {})
    assert settings.listen.host == "127.0.0.1"
    assert settings.storage.path.is_relative_to("/var/lib/slidekin")
    assert settings.access_path.is_relative_to("/var/lib/slidekin")
    assert settings.audit_path.is_relative_to("/var/log/slidekin")
    assert settings.storage.snapshots_path.is_relative_to("/var/lib/slidekin")
    assert str(settings.model.bundle) == f"{PREFIX}/models/bundle"
    assert f"--bundle={settings.model.bundle}" in (FOLDER / "triton.env").read_text()
    (triton,) = commands("slidekin-triton.service")
    assert f"--grpc-port={settings.triton.url.rpartition(':')[2]}" in triton
    targets = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yaml").read_text())
    (scraped,) = (job for job in targets["scrape_configs"] if job["job_name"] == "triton")
    port = re.search(r"--metrics-port=(\d+)", triton)[1]
    assert scraped["static_configs"][0]["targets"] == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("unit", SERVICES)
def test_what_a_unit_starts_is_what_the_bundle_installs(unit: str):
    install = (PROJECT / "deploy/bundle/install.sh").read_text()
    assert "deploy/systemd" in install
    for command in commands(unit):
        program, *rest = command.split()
        assert program.startswith((f"{PREFIX}/service/bin/", f"{PREFIX}/triton/bin/"))
        for word in rest:
            if word.startswith(f"{PREFIX}/deploy/"):
                assert (PROJECT / word.removeprefix(f"{PREFIX}/")).is_file()
