"""The process itself: health, metrics, reflection, settings, start and stop."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.paths import PROJECT
from tests.service_calls import Calls, Failure, random_codes
from tests.service_process import ServiceProcess, eventually, service_environment

from slidekin.v1 import admin_pb2, collections_pb2, search_pb2, slides_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

MODULES = (collections_pb2, slides_pb2, search_pb2, admin_pb2)
SERVICES = [
    service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS = [method for service in SERVICES for method in service.methods]


def health(channel: grpc.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=30).status


def metrics(service: ServiceProcess) -> str:
    with urllib.request.urlopen(service.metrics_url, timeout=30) as response:
        return response.read().decode()


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slidekin_server", *arguments],
        env=service_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_a_service_by_codes_is_ready_once_its_index_is_loaded(channel: grpc.Channel) -> None:
    assert health(channel, "") == SERVING
    for service in SERVICES:
        assert health(channel, service.full_name) == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        health(channel, "slidekin.v1.NoSuchService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_status_tells_limits_and_counts(channel: grpc.Channel, calls: Calls) -> None:
    calls.add("a", random_codes(1))
    status = calls.admin.GetStatus(admin_pb2.GetStatusRequest())
    assert status.version
    assert status.index_loaded
    assert status.encoder_state == admin_pb2.ENCODER_STATE_ABSENT
    assert not status.HasField("model")
    assert status.limits.max_k == 50
    assert status.limits.max_patches_per_slide == 200
    assert status.limits.max_message_bytes == 2 * 1024 * 1024
    assert status.slide_count >= 1
    assert status.patch_count >= 8
    assert status.collection_count >= 1
    assert status.start_time.seconds > 0


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_of_the_contract_is_implemented_and_measured(
    service: ServiceProcess, channel: grpc.Channel, method: object
) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"

    def serialise(message: Message) -> bytes:
        return message.SerializeToString()

    kind = ("stream" if method.client_streaming else "unary") + (
        "_stream" if method.server_streaming else "_unary"
    )
    call = getattr(channel, kind)(
        path,
        request_serializer=serialise,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    request = GetMessageClass(method.input_type)()
    failure = None
    try:
        answer = call(iter([request]) if method.client_streaming else request, timeout=30)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        failure = Failure.of(error)
    # An empty request is refused or answered, and never comes as a surprise.
    assert failure is None or failure.code is grpc.StatusCode.INVALID_ARGUMENT
    code = "OK" if failure is None else failure.code.name
    counted = f'slidekin_rpcs_total{{code="{code}",method="{path}"}}'
    eventually(lambda: counted in metrics(service))


def test_metrics_count_what_is_held_and_searched(service: ServiceProcess, calls: Calls) -> None:
    metric = service.metric
    slides = metric("slidekin_slides")
    versions = metric("slidekin_index_versions_total")
    searched = metric('slidekin_patches_searched_total{mode="guided"}')
    asked = metric('slidekin_searches_total{mode="hybrid",short="true"}')
    calls.add("a", random_codes(1))
    calls.search(random_codes(1))
    assert metric("slidekin_slides") == slides + 1
    assert metric("slidekin_index_versions_total") == versions + 1
    assert metric('slidekin_patches_searched_total{mode="guided"}') == searched + 8
    assert metric('slidekin_searches_total{mode="hybrid",short="true"}') == asked + 1
    for stage in ("search", "rank", "store"):
        assert metric(f'slidekin_stage_duration_seconds_count{{stage="{stage}"}}') > 0


def test_no_name_of_slide_or_patient_reaches_the_log(service: ServiceProcess, calls: Calls) -> None:
    calls.add("Mustermann-slide", random_codes(1), patient_id="Mustermann", label="Mustermann")
    calls.search(random_codes(1))
    with pytest.raises(grpc.RpcError):
        calls.add("Mustermann-slide", random_codes(2), patient_id="Mustermann")
    eventually(lambda: "SLIDE_ALREADY_EXISTS" in service.log.read_text(encoding="utf-8"))
    log = service.log.read_text(encoding="utf-8")
    assert "Mustermann" not in log


def buf(service: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if program is None:
        pytest.skip("no buf: pip install buf-bin")
    return subprocess.run(
        [program, "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_reflection_lets_a_stranger_call(service: ServiceProcess) -> None:
    listed = buf(service, "--list-methods", f"http://{service.url}")
    for method in METHODS:
        assert f"{method.containing_service.full_name}/{method.name}" in listed.stdout
    url = f"http://{service.url}/slidekin.v1.AdminService/GetStatus"
    assert json.loads(buf(service, "--data", "{}", url).stdout)["indexLoaded"] is True


def test_reflection_can_be_switched_off(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path, {"reflection": False}) as service:
        listed = buf(service, "--list-methods", f"http://{service.url}")
        assert listed.returncode != 0
        with service.channel() as channel:
            assert health(channel, "") == SERVING


def test_a_service_that_stops_says_so_and_ends_well(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path, {"shutdown_notice_s": 3.0}) as service:
        with service.channel() as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="slidekin.v1.SearchService"), timeout=60
            )
            assert next(watch).status == SERVING
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            assert next(watch).status == NOT_SERVING
        assert service.process.wait(60) == 0
        assert not (tmp_path / "state.json").exists()


def test_a_service_ends_with_its_parent(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path) as service:
        assert service.process is not None
        assert service.process.stdin is not None
        service.process.stdin.close()
        assert service.process.wait(60) == 0


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {
            "listen": {"port": port},
            "metrics": {"port": 0},
            "storage": {"path": str(tmp_path / "store")},
        }
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump(settings))
        ended = command("serve", "--codes-only", "--config", str(file))
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "listen.port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_service_on_the_same_store_is_refused(
    service: ServiceProcess, tmp_path: Path
) -> None:
    settings = {
        "listen": {"port": 0},
        "metrics": {"port": 0},
        "storage": {"path": str(service.folder / "store")},
    }
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    ended = command("serve", "--codes-only", "--config", str(file))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_a_missing_bundle_is_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"model": {"bundle": str(tmp_path / "missing")}}))
    ended = command("serve", "--config", str(file))
    assert ended.returncode == 1
    assert str(tmp_path / "missing") in ended.stderr
    assert "Traceback" not in ended.stderr


def test_wrong_settings_are_named_with_their_keys(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"listen": {"prot": 1}, "limits": {"max_k": 0}}))
    ended = command("serve", "--config", str(file))
    assert ended.returncode == 2
    assert "listen.prot" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_settings_in_force_can_be_printed_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"listen": {"port": 1234}}))
    printed = command("config", "--config", str(file))
    assert yaml.safe_load(printed.stdout)["listen"]["port"] == 1234
    file.write_text(printed.stdout)
    assert command("config", "--config", str(file)).stdout == printed.stdout
    reference = command("config", "--defaults").stdout
    assert reference == (PROJECT / "server/slidekin_server/config/default.yaml").read_text()
