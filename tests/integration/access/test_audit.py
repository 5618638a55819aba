"""The audit log of a running service: what it says, what it keeps to itself, and a full disk."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.integration.access.keys import create_key, refusal, showing
from tests.service_calls import FINGERPRINT, Calls, random_codes
from tests.service_process import ServiceProcess, eventually, service_environment

from slidekin.v1 import slides_pb2

FULL = Path("/dev/full")
"""Every write to it fails as on a full disk."""


def log_file(service: ServiceProcess) -> Path:
    return service.folder / "store-audit" / "audit.jsonl"


def entries(service: ServiceProcess, method: str = "") -> list[dict[str, Any]]:
    """What the log holds by now, of one method."""
    lines = log_file(service).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [entry for entry in found if entry.get("method", "").endswith(method)]


def hashed(service: ServiceProcess, *arguments: str) -> str:
    command = [sys.executable, "-m", "slidekin_server", "audit", "hash", *arguments]
    settings = str(service.folder / "settings.yaml")
    return subprocess.check_output(
        [*command, "--config", settings], env=service_environment(), text=True, timeout=60
    ).strip()


def test_who_did_what_stands_in_the_log_and_no_patient_does(tmp_path: Path):
    service = ServiceProcess(tmp_path, {"access": {"required": True}})
    keys = {
        name: create_key(service, name, role, "skin")
        for name, role in (("root", "admin"), ("lab", "reader"))
    }
    with service, service.channel() as channel:
        root, lab = (Calls(showing(channel, keys[name]), "skin") for name in ("root", "lab"))
        root.create()
        added = root.add("erika-1", random_codes(1, patches=7), patient_id="Mustermann")
        found = lab.search(random_codes(1, patches=3))
        refusal(lambda: lab.add("S2", random_codes(2)))
        refusal(Calls(channel, "skin").get)
        erase = slides_pb2.DeletePatientRequest(parent="collections/skin", patient_id="Mustermann")
        root.slides.DeletePatient(erase)
        service.stop()
        patient, slide = hashed(service, "Mustermann"), hashed(service, "erika-1", "--slide")
        (add, denied), (erased,) = entries(service, "/AddSlide"), entries(service, "/DeletePatient")
        (search,), (unknown,) = entries(service, "/SearchSlide"), entries(service, "/GetCollection")
        assert add["identity"] == "key:root"
        assert add["peer"].startswith("ipv4:127.0.0.1:")
        assert (add["collection"], add["patches"], add["code"]) == ("skin", 7, "OK")
        assert (add["patient"], add["slide"]) == (patient, slide)
        assert (add["fingerprint"], add["index_version"]) == (FINGERPRINT, added.index_version)
        assert (search["identity"], search["patches"]) == ("key:lab", 3)
        assert search["index_version"] == found.ranked.index_version
        assert (denied["identity"], denied["code"]) == ("key:lab", "PERMISSION_DENIED")
        assert (denied["reason"], denied["collection"]) == ("PERMISSION_DENIED", "skin")
        assert (unknown["code"], unknown["reason"]) == ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
        assert "identity" not in unknown
        assert (erased["patient"], erased["slides"]) == (patient, 1)
        assert entries(service, "/Watch") == [], "probes are not recorded"

        service.start()
        root = Calls(showing(grpc.insecure_channel(service.url), keys["root"]), "skin")
        root.slides.DeletePatient(erase)
        service.stop()
    assert entries(service, "/DeletePatient")[-1]["patient"] == patient, "the same after a restart"
    text = log_file(service).read_text(encoding="utf-8")
    assert "Mustermann" not in text
    assert "erika" not in text
    assert stat.S_IMODE(log_file(service).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "store-access" / "audit.key").stat().st_mode) == 0o600


def test_files_are_rotated_and_the_oldest_go(tmp_path: Path):
    with ServiceProcess(tmp_path, {"audit": {"max_bytes": 4096, "files": 3}}) as service:
        with service.channel() as channel:
            calls = Calls(channel)
            calls.create()
            for _ in range(100):
                calls.get()
        service.stop()
        files = sorted(log_file(service).parent.iterdir())
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert all(file.stat().st_size <= 4096 for file in files[1:])
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            json.loads(line)
    assert entries(service)[-1]["method"].endswith("/GetCollection")


def test_it_can_be_switched_off(tmp_path: Path):
    with ServiceProcess(tmp_path, {"audit": {"enabled": False}}) as service:
        with service.channel() as channel:
            Calls(channel).create()
        assert not log_file(service).parent.exists()


def fill(service: ServiceProcess) -> Path:
    """Let the log's disk be full, once it holds what was done; return where it was before."""
    eventually(lambda: len(entries(service, "/CreateCollection")) == 1)
    kept = log_file(service).with_name("kept.jsonl")
    log_file(service).rename(kept)
    log_file(service).symlink_to(FULL)
    return kept


def test_while_its_disk_is_full_calls_go_on_and_are_recorded_later(tmp_path: Path):
    with ServiceProcess(tmp_path) as service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        fill(service)
        for _ in range(5):
            calls.get()
        eventually(lambda: service.metric("slidekin_audit_failing") == 1)
        assert "audit log cannot be written" in service.log.read_text(encoding="utf-8")
        calls.get()
        log_file(service).unlink()
        eventually(lambda: service.metric("slidekin_audit_failing") == 0)
        eventually(lambda: len(entries(service, "/GetCollection")) == 6)
        assert service.metric('slidekin_log_write_failures_total{log="audit"}') == 0


def test_where_no_call_may_go_unrecorded_a_full_disk_refuses_them(tmp_path: Path):
    settings = {"audit": {"when_full": "refuse"}}
    with ServiceProcess(tmp_path, settings) as service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        fill(service)
        calls.get()
        eventually(lambda: service.metric("slidekin_audit_failing") == 1)
        found = refusal(calls.get)
        assert (found.code, found.info.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "AUDIT_UNAVAILABLE",
        )
        assert found.retry.retry_delay.seconds > 0
        service.wait_ready()
        log_file(service).unlink()
        eventually(lambda: service.metric("slidekin_audit_failing") == 0)
        calls.get()
        recorded = ["OK", "UNAVAILABLE", "OK"]
        eventually(
            lambda: [entry["code"] for entry in entries(service, "/GetCollection")] == recorded
        )


def test_a_log_that_cannot_be_written_at_the_start_is_a_clear_refusal(tmp_path: Path):
    service = ServiceProcess(tmp_path, {"audit": {"path": str(FULL)}})
    with pytest.raises(RuntimeError, match=r"audit log /dev/full cannot be written .*No space"):
        service.start()
    service.__exit__()
