"""The Helm chart: linted, rendered for several ways of use, each document by Kubernetes' schemas.

No cluster runs it here. Custom resources of the Prometheus operator have no schema in these tests.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import promql_parser
import pytest
import yaml
from tests.deploy.queries import metrics_of
from tests.paths import PROJECT

from slidekin_server.config import load_settings

CHART = PROJECT / "deploy/helm/slidekin"
KUBERNETES = ("1.27", "1.37")
OPERATOR = {"ServiceMonitor", "PrometheusRule"}
TLS = {"tls": {"existingSecret": "slidekin-tls"}}
EVERYTHING = {
    "tls": {"existingSecret": "slidekin-tls", "clientCaKey": "ca.crt"},
    "imagePullSecrets": [{"name": "mirror"}],
    "access": {
        "grants": [{"identity": "group:pathologists", "role": "reader", "collections": ["*"]}],
        "oidc": {"issuer": "https://login.hospital.example", "audience": "slidekin"},
    },
    "service": {
        "type": "LoadBalancer",
        "annotations": {"example.com/pool": "inner"},
        "config": {"search": {"threads": 8}, "triton": {"max_in_flight": 64}},
        "storage": {"size": "500Gi", "storageClass": "fast"},
        "snapshots": {"existingSecret": "slidekin-snapshots", "storageClass": "slow"},
        "extraEnv": [{"name": "SLIDEKIN_SERVER__LOGGING__LEVEL", "value": "debug"}],
        "nodeSelector": {"disk": "nvme"},
    },
    "triton": {
        "autoscaling": {"enabled": True},
        "extraArgs": ["--response-cache-mib=256"],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "models": {"existingClaim": "models", "bundle": "uni"},
    "networkPolicy": {
        "clients": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "extraEgress": [{"ports": [{"port": 443}]}],
    },
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
        "dashboards": {"enabled": True},
    },
}
USES: dict[str, dict[str, Any]] = {
    "gpu": TLS,
    "cpu": {**TLS, "triton": {"device": "cpu", "replicas": 2}},
    "everything": EVERYTHING,
    "insecure": {"insecure": True, "access": {"required": False}},
    "bare": {**TLS, "networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
}


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(values, name="slidekin", namespace="pathology")
    files = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [one for text in files for one in yaml.safe_load_all(text) if one]


DOCUMENTS = {use: render(values) for use, values in USES.items()}
EACH = [
    pytest.param(one, id=f"{use}: {one['kind']} {one['metadata']['name']}")
    for use, documents in DOCUMENTS.items()
    for one in documents
]


def snapshot_arguments(keep: int) -> list[str]:
    snapshots = {"existingSecret": "slidekin-snapshots", "keep": keep}
    documents = render({**TLS, "service": {"snapshots": snapshots}})
    (job,) = (one for one in documents if one["kind"] == "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    arguments: list[str] = container["args"]
    return arguments


def test_as_many_snapshots_are_kept_as_the_values_say():
    assert snapshot_arguments(7) == ["snapshot", "--keep=7"]
    assert snapshot_arguments(0) == ["snapshot"]
    assert "--keep=7" in str(of("everything", "CronJob", "slidekin-snapshots"))


def of(use: str, kind: str, name: str) -> dict[str, Any]:
    (found,) = (
        one for one in DOCUMENTS[use] if (one["kind"], one["metadata"]["name"]) == (kind, name)
    )
    return found


def pods(use: str) -> list[dict[str, Any]]:
    templates = [one["spec"].get("template") for one in DOCUMENTS[use] if "spec" in one]
    jobs = [one for one in DOCUMENTS[use] if one["kind"] == "CronJob"]
    templates += [one["spec"]["jobTemplate"]["spec"]["template"] for one in jobs]
    return [one["spec"] for one in templates if one]


@pytest.mark.parametrize("use", USES)
def test_the_chart_passes_helms_lint(use: str):
    report = helm.lint(CHART, USES[use], strict=True, kube_version="v1.31.0")
    assert report["errors"] == []
    assert [one["error"] for one in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("document", EACH)
def test_each_document_is_valid(document: dict[str, Any]):
    if document["kind"] in OPERATOR:
        assert document["apiVersion"] == "monitoring.coreos.com/v1"
        return
    for version in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("use", USES)
def test_rendered_documents_are_tidy(use: str, tmp_path: Path):
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(USES[use], name="slidekin", namespace="pathology")
    for path, text in rendered.items():
        if path.endswith(".yaml") and text.strip():
            (tmp_path / Path(path).name).write_text(text)
    untidy = ("line-length", "empty-lines", "indentation", "trailing-spaces")
    rules = yaml.safe_dump({"extends": "relaxed", "rules": dict.fromkeys(untidy, "disable")})
    done = subprocess.run(
        ["yamllint", "-d", rules, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("use", USES)
def test_every_pod_is_shut_in(use: str):
    for pod in pods(use):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= container["resources"].keys()
            assert all("hostPath" not in volume for volume in pod["volumes"])


@pytest.mark.parametrize("use", USES)
def test_what_is_mounted_is_there(use: str):
    claims = of(use, "StatefulSet", "slidekin")["spec"]["volumeClaimTemplates"]
    claimed = {one["metadata"]["name"] for one in claims}
    assert claimed == {"data", "snapshots"}
    for pod in pods(use):
        there = claimed | {one["name"] for one in pod["volumes"]}
        for container in pod["containers"]:
            assert {one["name"] for one in container["volumeMounts"]} <= there


@pytest.mark.parametrize("use", USES)
def test_the_services_settings_are_valid(use: str, tmp_path: Path):
    file = tmp_path / "service.yaml"
    file.write_text(of(use, "ConfigMap", "slidekin")["data"]["service.yaml"])
    settings = load_settings(file, {})
    assert (settings.exposures == ()) is (use != "insecure")
    host, port = settings.triton.url.split(":")
    name, namespace, _ = host.split(".")
    assert namespace == "pathology"
    ports = of(use, "Service", name)["spec"]["ports"]
    assert int(port) in {one["port"] for one in ports}
    container = of(use, "StatefulSet", "slidekin")["spec"]["template"]["spec"]["containers"][0]
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    for path in (
        settings.storage.path,
        settings.access_path,
        settings.audit_path,
        settings.storage.snapshots_path,
    ):
        assert any(path.is_relative_to(mount) for mount in mounts)
    if settings.tls.certificate_file:
        assert str(settings.tls.certificate_file.parent) in mounts
    if use == "everything":
        assert settings.search.threads == 8
        assert settings.triton.max_in_flight == 64
        assert settings.access.grants[0].identity == "group:pathologists"
        assert settings.access.oidc.audience == "slidekin"
        assert str(settings.model.bundle) == "/models/uni"


def test_one_process_writes_a_store():
    spec = of("gpu", "StatefulSet", "slidekin")["spec"]
    assert spec["replicas"] == 1
    headless = of("gpu", "Service", spec["serviceName"])["spec"]
    assert headless["clusterIP"] == "None"
    with pytest.raises(helm.HelmError, match="replicas"):
        render({**TLS, "service": {"replicas": 2}})


def test_health_is_asked_of_a_service_that_encrypts_by_its_own_command():
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    encrypted, plain = (
        of(use, "StatefulSet", "slidekin")["spec"]["template"]["spec"]["containers"][0]
        for use in ("gpu", "insecure")
    )
    for probe in probes:
        command = encrypted[probe]["exec"]["command"]
        assert command[:2] == ["slidekin-server", "health"]
        assert ("--live" in command) is (probe != "readinessProbe")
        asked = plain[probe]["grpc"].get("service")
        assert asked == ("slidekin.v1.SearchService" if probe == "readinessProbe" else None)
    helped = subprocess.run(
        ["slidekin-server", "health", "--help"], capture_output=True, text=True, check=False
    )
    assert "--live" in helped.stdout


def test_triton_gets_its_gpu_and_the_options_that_its_launcher_has():
    launcher = (PROJECT / "deploy/triton/launcher.py").read_text()
    for use, image in (("gpu", "slidekin/triton:0.1.0"), ("cpu", "slidekin/triton-cpu:0.1.0")):
        pod = of(use, "Deployment", "slidekin-triton")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"] == image
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) is (use == "gpu")
        command, *options = container["args"]
        assert f"def {command}(" in launcher
        for option in options:
            name = re.match(r"--([a-z-]+)=", option)[1].replace("-", "_")
            assert re.search(rf"^    {name}: ", launcher, re.MULTILINE), option
        shm = next(one for one in pod["volumes"] if one["name"] == "shm")
        assert shm["emptyDir"]["medium"] == "Memory"
    assert "replicas" not in of("everything", "Deployment", "slidekin-triton")["spec"]


def test_triton_is_reached_by_the_service_and_prometheus_alone():
    for use in ("gpu", "everything"):
        spec = of(use, "NetworkPolicy", "slidekin-triton")["spec"]
        service, prometheus = spec["ingress"]
        assert (
            service["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
            == "service"
        )
        assert service["ports"] == [{"port": "grpc"}]
        assert prometheus["ports"] == [{"port": "metrics"}]
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        assert "egress" not in spec
        assert of(use, "Service", "slidekin-triton")["spec"]["clusterIP"] == "None"


def test_policies_and_budgets_choose_the_pods_they_are_for():
    labels = {
        name: of("gpu", kind, name)["spec"]["template"]["metadata"]["labels"]
        for kind, name in (("StatefulSet", "slidekin"), ("Deployment", "slidekin-triton"))
    }
    for kind, key in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        for name, own in labels.items():
            selector = of("gpu", kind, name)["spec"][key]["matchLabels"]
            for other, theirs in labels.items():
                assert (selector.items() <= theirs.items()) is (other == name), (kind, own)


def test_rules_and_dashboards_are_those_of_the_project():
    rule = of("everything", "PrometheusRule", "slidekin")
    files = sorted((PROJECT / "deploy/prometheus/rules").iterdir())
    groups = [one for file in files for one in yaml.safe_load(file.read_text())["groups"]]
    assert rule["spec"]["groups"] == groups
    for file in (PROJECT / "deploy/grafana/dashboards").iterdir():
        data = of("everything", "ConfigMap", f"slidekin-{file.stem}")["data"]
        assert data == {file.name: file.read_text()}


def test_jobs_are_called_what_the_rules_call_them():
    usual = yaml.safe_load((PROJECT / "deploy/prometheus/prometheus.yaml").read_text())
    jobs = set()
    for component in ("service", "triton"):
        monitor = of("everything", "ServiceMonitor", f"slidekin-{component}")
        (end,) = monitor["spec"]["endpoints"]
        jobs.add(end["relabelings"][0]["replacement"])
        selector = monitor["spec"]["selector"]["matchLabels"]
        served = [
            one
            for one in DOCUMENTS["everything"]
            if one["kind"] == "Service"
            and selector.items() <= one["metadata"]["labels"].items()
            and end["port"] in {port["name"] for port in one["spec"]["ports"]}
        ]
        # Two services with that port would count everything twice.
        assert len(served) == 1
    assert jobs == {job["job_name"] for job in usual["scrape_configs"]}


def test_the_metric_that_scales_triton_is_made_by_the_adapter():
    metric = of("everything", "HorizontalPodAutoscaler", "slidekin-triton")["spec"]["metrics"][0]
    adapter = yaml.safe_load((CHART.parent / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    query = rule["metricsQuery"]
    query = query.replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'namespace="a"')
    promql_parser.parse(query)
    assert metrics_of(query)
    assert metrics_of(rule["seriesQuery"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "tls.existingSecret: name a secret"),
        ({**TLS, "access": {"required": False}}, "access.required is false"),
        ({**TLS, "acess": {}}, "acess"),
        ({**TLS, "triton": {"device": "tpu"}}, "device"),
        ({**TLS, "service": {"storage": {"size": "much"}}}, "size"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], said: str):
    with pytest.raises(helm.HelmError, match=re.escape(said)):
        render(values)


def test_the_notes_say_what_is_missing():
    with helm.Chart.load(CHART) as chart:
        notes = {
            use: chart.render(USES[use], name="slidekin", namespace="pathology")[
                "slidekin/templates/NOTES.txt"
            ]
            for use in USES
        }
    assert "keys create" in notes["gpu"]
    assert "No snapshots are made yet" in notes["gpu"]
    assert "No snapshots" not in notes["everything"]
    assert "INSECURE: calls are not encrypted, and callers are not asked" in notes["insecure"]


def test_every_value_is_in_the_schema():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def walk(values: dict[str, Any], part: dict[str, Any], path: str) -> None:
        if "$ref" in part:
            part = schema["definitions"][part["$ref"].rpartition("/")[2]]
        properties = part.get("properties")
        for name, value in values.items():
            if properties is not None:
                assert name in properties, f"{path}.{name}"
                if isinstance(value, dict):
                    walk(value, properties[name], f"{path}.{name}")

    walk(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


def test_the_chart_has_the_version_of_the_package():
    version = re.search(
        r'^version = "(.+)"', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE
    )
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == version[1]
