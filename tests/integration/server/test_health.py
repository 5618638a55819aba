"""The command ``health`` asks the service that runs with the same settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.integration.access.certificates import Authority
from tests.service_process import ServiceProcess, service_environment
from tests.unit.server.made_bundles import write_bundle


def command(config: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slidekin_server", name, f"--config={config}", *options],
        capture_output=True,
        text=True,
        check=False,
        env=service_environment(),
    )


def settings_of(service: ServiceProcess, folder: Path, host: str = "127.0.0.1") -> Path:
    """The settings that it runs with, with the port that it took."""
    settings = yaml.safe_load((service.folder / "settings.yaml").read_text())
    settings["listen"] = {"host": host, "port": int(service.url.rpartition(":")[2])}
    file = folder / "asked.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def test_a_ready_service_is_healthy_and_one_that_is_gone_is_not(tmp_path: Path):
    with ServiceProcess(tmp_path / "service") as service:
        config = settings_of(service, tmp_path)
        for options in ([], ["--live"]):
            done = command(config, "health", *options)
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"{service.url}: SERVING\n"
        service.stop()
        done = command(config, "health", "--timeout=5")
    assert done.returncode == 1
    assert done.stderr.startswith(f"no answer from {service.url}: ")
    assert "Traceback" not in done.stderr


def test_a_service_without_its_networks_lives_and_is_not_ready(tmp_path: Path):
    bundle = write_bundle(tmp_path / "bundle")
    settings = {"model": {"bundle": str(bundle)}, "triton": {"url": "127.0.0.1:1"}}
    service = ServiceProcess(tmp_path / "service", settings, codes_only=False).start(ready=False)
    with service:
        config = settings_of(service, tmp_path)
        assert command(config, "health", "--live").returncode == 0
        done = command(config, "health")
    assert done.returncode == 1
    assert done.stderr == f"{service.url}: NOT_SERVING\n"


@pytest.mark.parametrize("kind", ["tls", "mutual-tls"])
def test_its_own_certificate_opens_the_way(tmp_path: Path, kind: str):
    mutual = kind == "mutual-tls"
    authority = Authority(tmp_path / "certificates")
    leaf = authority.issue()
    tls = authority.server_settings
    if mutual:
        tls["client_ca_file"] = str(authority.ca_file)
    overrides = {"tls": tls, "access": {"required": True}}
    with ServiceProcess(
        tmp_path / "service", overrides, credentials=authority.channel(leaf if mutual else None)
    ) as service:
        # As in a container: it listens everywhere, and is asked on loopback.
        config = settings_of(service, tmp_path, host="0.0.0.0")
        done = command(config, "health")
        assert done.returncode == 0, done.stderr
