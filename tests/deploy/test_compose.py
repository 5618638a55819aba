"""The compose files: by the schema of compose, with everything there that they mount, and shut in.

No engine starts them here.
"""

from __future__ import annotations

import re
import subprocess
from copy import deepcopy
from typing import Any

import pytest
import yaml
from tests.deploy.dockerfile import read_stages
from tests.paths import PROJECT

from slidekin_server.config import load_settings

FOLDER = PROJECT / "deploy/compose"
BASE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
GPU = yaml.safe_load((FOLDER / "compose.gpu.yaml").read_text())
STAGES = read_stages(PROJECT / "deploy/docker/Dockerfile")
SERVICES = sorted(BASE["services"])


def merged(base: Any, over: Any) -> Any:
    """As compose puts one file over another, where no lists are involved."""
    if isinstance(base, dict) and isinstance(over, dict):
        both = {name: merged(base[name], over[name]) for name in base.keys() & over.keys()}
        return {**base, **over, **both}
    return deepcopy(over)


VARIANTS = {"cpu": BASE, "gpu": merged(BASE, GPU)}


def test_they_keep_to_composes_schema():
    files = [FOLDER / "compose.yaml", FOLDER / "compose.gpu.yaml"]
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_whole_of_it_is_there():
    assert SERVICES == ["grafana", "prometheus", "service", "triton"]
    assert GPU["services"].keys() <= BASE["services"].keys()
    assert VARIANTS["gpu"]["services"]["triton"]["build"]["context"] == "../.."
    (device,) = GPU["services"]["triton"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_built_are_images_of_the_dockerfile(variant: str):
    built = {
        name: one["build"] for name, one in VARIANTS[variant]["services"].items() if "build" in one
    }
    assert built.keys() == {"service", "triton"}
    for build in built.values():
        assert (FOLDER / build["context"]).resolve() == PROJECT
        assert (PROJECT / build["dockerfile"]).is_file()
        assert "HEALTHCHECK" in {one.name for one in STAGES[build["target"]].instructions}


@pytest.mark.parametrize("name", SERVICES)
def test_every_mounted_path_exists(name: str):
    for mount in BASE["services"][name].get("volumes", []):
        source, target, *mode = mount.split(":")
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert mode == ["ro"]
        else:
            assert source in BASE["volumes"]
        assert target.startswith("/")
    for secret in BASE["services"][name].get("secrets", []):
        assert secret in BASE["secrets"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_shut_in(name: str):
    one = BASE["services"][name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not one.get("privileged")
    assert "network_mode" not in one
    assert "healthcheck" in one or "build" in one
    assert re.search(r":v?\d+\.\d+\.\d+$", one["image"])


def test_others_reach_the_service_alone():
    published = {name: one.get("ports", []) for name, one in BASE["services"].items()}
    assert published["service"] == ["50051:50051"]
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])
    assert published["triton"] == published["prometheus"] == []
    inner = {name for name, network in BASE["networks"].items() if network.get("internal")}
    assert set(BASE["services"]["triton"]["networks"]) <= inner
    assert set(BASE["services"]["prometheus"]["networks"]) <= inner
    for name in SERVICES:
        assert set(BASE["services"][name]["networks"]) <= BASE["networks"].keys()


def test_what_the_images_write_to_can_be_written():
    for name, folders in (
        ("service", {"/var/lib/slidekin", "/var/cache/slidekin", "/tmp"}),
        ("triton", {"/run/slidekin", "/tmp"}),
    ):
        one = BASE["services"][name]
        writable = {mount.split(":")[0] for mount in one["tmpfs"]}
        writable |= {
            mount.split(":")[1] for mount in one.get("volumes", []) if not mount.endswith(":ro")
        }
        assert writable == folders
        assert all("uid=10001" in mount for mount in one["tmpfs"])


def test_the_services_settings_are_valid_and_closed_to_strangers():
    settings = load_settings(FOLDER / "service.yaml", {})
    assert settings.exposures == ()
    assert not settings.insecure
    assert settings.access.required
    assert settings.access_path.is_relative_to("/var/lib/slidekin")
    assert settings.audit_path.is_relative_to("/var/lib/slidekin")
    assert settings.storage.path.is_relative_to("/var/lib/slidekin")
    assert settings.storage.snapshots_path.is_relative_to("/var/lib/slidekin")
    assert f"{settings.listen.port}:{settings.listen.port}" in BASE["services"]["service"]["ports"]
    assert settings.triton.url.partition(":")[0] in BASE["services"]
    for file in (settings.tls.certificate_file, settings.tls.key_file):
        assert file is not None
        assert str(file.parent) == "/run/secrets"
        assert file.name in BASE["services"]["service"]["secrets"]
    assert BASE["services"]["service"]["environment"] == {
        "SLIDEKIN_SERVER_CONFIG": "/etc/slidekin/service.yaml"
    }


def test_prometheus_and_grafana_differ_from_the_usual_in_names_alone():
    ours = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    usual = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yaml").read_text())
    targets = {}
    for content in (ours, usual):
        for job in content["scrape_configs"]:
            targets.setdefault(job["job_name"], []).append(job.pop("static_configs"))
    assert ours == usual
    for name, port in (("slidekin", 9464), ("triton", 8002)):
        host, usual_host = (found[0]["targets"][0].split(":") for found in targets[name])
        assert host[1] == usual_host[1] == str(port)
        assert host[0] in BASE["services"]
    ours = yaml.safe_load((FOLDER / "datasource.yaml").read_text())
    provisioning = PROJECT / "deploy/grafana/provisioning"
    usual = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())
    assert ours["datasources"][0].pop("url") == "http://prometheus:9090"
    usual["datasources"][0].pop("url")
    assert ours == usual
    provider = yaml.safe_load((provisioning / "dashboards/slidekin.yaml").read_text())
    path = provider["providers"][0]["options"]["path"]
    assert any(f":{path}:ro" in mount for mount in BASE["services"]["grafana"]["volumes"])


def test_all_yaml_is_linted():
    command = ["yamllint", "--strict", "deploy"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_secrets_are_no_part_of_the_project():
    ignored = (PROJECT / ".gitignore").read_text()
    assert "deploy/compose/secrets/" in ignored
    for secret in BASE["secrets"].values():
        assert re.fullmatch(r"\$\{SLIDEKIN_SECRETS:-\./secrets\}/[\w.]+", secret["file"])
