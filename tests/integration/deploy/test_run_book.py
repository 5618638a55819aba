"""The commands of docs/operations.md, carried out from top to bottom as they stand there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from tests.integration.access.certificates import Authority
from tests.integration.deploy.machine import Machine, sections
from tests.paths import PROJECT

from slidekin import Client, Codes, Slide, Tls
from slidekin_server.access.key_file import KeyFile
from slidekin_server.access.roles import Grant, Role

pytestmark = pytest.mark.timeout(300)

PAGE = PROJECT / "docs" / "operations.md"
FINGERPRINT = "f" * 64
START = """\
```sh
systemctl start slidekin-server
export SLIDEKIN_SERVER_CONFIG=/etc/slidekin/service.yaml
/opt/slidekin/current/service/bin/slidekin-server health --wait 120
```
"""
PATIENTS = {"S-1": "P-16", "S-2": "P-17", "S-3": "P-17"}


def fill(machine: Machine, authority: Authority, key: str) -> None:
    """Add slides to a closed service, as a site does with a key of its own."""
    rng = np.random.default_rng(0)
    with Client(machine.address, tls=Tls(ca_file=authority.ca_file), api_key=key) as client:
        client.create_collection(
            "skin", model_fingerprint=FINGERPRINT, texture_bits=128, hamming_threshold_bits=24
        )
        for slide, patient in PATIENTS.items():
            codes = Codes(
                rng.integers(0, 10**12, 30),
                rng.integers(0, 256, (30, 16), dtype=np.uint8),
                rng.integers(0, 40_000, (30, 2), dtype=np.int32),
            )
            client.add_slide_codes(
                Slide(name=f"collections/skin/slides/{slide}", patient_id=patient),
                codes,
                model_fingerprint=FINGERPRINT,
            )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    assert shutil.which("openssl"), "the run book looks at certificates: apt-get install openssl"
    machine = Machine(tmp_path_factory.mktemp("machine"))
    tls = machine.moved("/etc/slidekin/tls")
    machine.set_up(
        {
            "tls": {
                "certificate_file": str(tls / "server.pem"),
                "key_file": str(tls / "server.key"),
            },
            "access": {"required": True},
        }
    )
    authority = Authority(tls)
    authority.issue(days=20)
    renewed = Authority(machine.moved("/root/new"), authority.ca)
    renewed.issue(days=400)
    try:
        # Before the service starts: it then knows the key from the beginning.
        access = machine.moved("/var/lib/slidekin/store-access")
        key = KeyFile(access).create("site", [Grant(Role.ADMIN, "*")])[1]
        machine.run(sections(START))
        fill(machine, authority, key)
        machine.stop()
        yield machine
    finally:
        machine.stop()


@pytest.fixture(scope="module")
def said(machine: Machine) -> dict[str, str]:
    """What each section's commands print."""
    return machine.run(sections(PAGE.read_text(encoding="utf-8")))


def test_settings_are_shown_as_the_service_takes_them(said):
    shown, _, _ = said["Start, stop, look"].partition("\nslidekin")
    assert "access:" in shown
    assert "3 slides" in said["Start, stop, look"]


def test_a_key_is_replaced_by_another_and_revoked(said):
    before, _, after = said["Keys"].rpartition("is revoked\n")
    assert before.count("lab-north") >= 3
    rows = [line.split() for line in after.splitlines() if "lab-north" in line]
    assert [row[2] for row in rows] == ["revoked", "active"]


def test_the_new_certificate_is_served_without_a_restart(said, machine):
    from datetime import UTC, datetime  # noqa: PLC0415

    end = said["Certificates"].strip().removeprefix("notAfter=")
    until = datetime.strptime(end, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    assert (until - datetime.now(UTC)).days > 300


def test_the_drill_restores_every_slide_and_leaves_nothing_behind(said, machine):
    assert said["Backup and the restore drill"].count("3 slides in 1 collections") >= 3
    assert not machine.moved("/var/lib/slidekin/drill").exists()


def test_going_back_an_upgrade_and_its_undoing_keep_every_slide(said, machine):
    for section in ("Going back to a snapshot", "Upgrade and roll back"):
        assert "3 slides" in said[section]
    assert machine.moved("/opt/slidekin/current").readlink().name == "first"


def test_an_erased_patient_is_in_no_snapshot(said, machine):
    assert said["Erase a patient"].count("deleted ") == 2
    (left,) = machine.moved("/var/lib/slidekin/snapshots").iterdir()
    assert "1 slides in 1 collections" in said["Erase a patient"]
    for file in left.rglob("*"):
        assert b"P-17" not in file.read_bytes()


def test_the_audit_log_tells_who_erased_the_patient(said, machine):
    lines = [json.loads(line) for line in said["Read the audit log"].splitlines()]
    (erased,) = (line for line in lines if line["method"].endswith("/DeletePatient"))
    assert (erased["identity"], erased["code"], erased["slides"]) == ("key:operator", "OK", 2)
    assert sum(line["method"].endswith("/AddSlide") for line in lines) == 2
    assert b"P-17" not in machine.moved("/var/log/slidekin/audit.jsonl").read_bytes()
