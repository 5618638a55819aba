"""What is damaged on disk is found by its checksum, named, and never served."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import grpc
import pytest
from tests.service_calls import Calls, Failure, near_codes, random_codes
from tests.service_process import ServiceProcess, service_environment

from slidekin.v1 import admin_pb2, common_pb2, slides_pb2
from slidekin_server.storage import DamagedStoreError, SlideFacts, SqliteStore
from slidekin_server.storage.recovery import verify_store

DATABASE = "slidekin.sqlite3"
EXACT = common_pb2.SEARCH_MODE_EXACT


@pytest.fixture
def service(tmp_path: Path) -> ServiceProcess:
    """A service with four slides alike and one snapshot of them, stopped."""
    service = ServiceProcess(tmp_path)
    with service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        for number in range(4):
            calls.add(f"s{number}", near_codes(random_codes(1, 60), number), patient_id="p")
        calls.admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(), timeout=60)
        service.stop()
    return service


def edit(service: ServiceProcess, statement: str, *values: object) -> None:
    """Change the database behind the service's back."""
    connection = sqlite3.connect(service.folder / "store" / DATABASE)
    with connection:
        connection.execute(statement, values)
    connection.close()


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slidekin_server", "verify", str(folder)],
        env=service_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(service: ServiceProcess) -> str:
    """Start a service that cannot start; return what it says."""
    written = service.log.stat().st_size
    with pytest.raises((RuntimeError, grpc.RpcError)):
        service.start()
    assert service.process is not None
    assert service.process.wait(60) == 1
    assert service.process.stdin is not None
    service.process.stdin.close()
    service.process = None
    said = service.log.read_bytes()[written:].decode()
    assert "Traceback" not in said
    return said


def status(calls: Calls) -> admin_pb2.GetStatusResponse:
    return calls.admin.GetStatus(admin_pb2.GetStatusRequest())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE codes SET textures = zeroblob(length(textures)) WHERE number = 2",
        "UPDATE codes SET xy = x'00' WHERE number = 2",
        "DELETE FROM codes WHERE number = 2",
        "UPDATE slides SET patient_id = 'other' WHERE number = 2",
    ],
)
def test_a_damaged_slide_is_named_left_out_and_can_be_replaced(
    service: ServiceProcess, damage: str
):
    edit(service, damage)
    told = verify(service.folder / "store")
    assert told.returncode == 1
    assert "collections/test/slides/s1 (number 2)" in told.stderr
    with service, service.channel() as channel:
        calls = Calls(channel)
        assert calls.held() == ["s0", "s2", "s3"]
        assert status(calls).damaged_slide_count == 1
        assert list(status(calls).damaged_slides) == [calls.name("s1")]
        assert status(calls).slide_count == 3
        with urllib.request.urlopen(service.metrics_url, timeout=30) as response:
            assert "slidekin_damaged_slides 1.0" in response.read().decode()
        assert '"slide_number": 2' in service.log.read_text()
        codes = near_codes(random_codes(1, 60), 1)
        assert "s1" not in calls.search(codes, mode=EXACT, k=4).slides
        for ask in (
            lambda: calls.slides.GetSlide(slides_pb2.GetSlideRequest(name=calls.name("s1"))),
            lambda: calls.add("s1", codes),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                ask()
            failure = Failure.of(caught.value)
            assert failure.code is grpc.StatusCode.DATA_LOSS
            assert failure.info.reason == "DAMAGED_SLIDE"
            assert calls.name("s1") in failure.message
            assert "replace" in failure.message
        calls.add("s1", codes, replace=True)
        assert calls.search(codes, mode=EXACT, k=1).slides == ["s1"]
        assert status(calls).damaged_slide_count == 0
        service.stop()
    assert verify(service.folder / "store").returncode == 0
    with service, service.channel() as channel:
        assert Calls(channel).held() == ["s0", "s2", "s3", "s1"]


@pytest.mark.parametrize("how", ["slide", "patient", "collection"])
def test_a_damaged_slide_can_be_deleted(service: ServiceProcess, how: str):
    edit(service, "UPDATE codes SET keys = x'00' WHERE number = 2")
    with service, service.channel() as channel:
        calls = Calls(channel)
        match how:
            case "slide":
                calls.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=calls.name("s1")))
                assert calls.held() == ["s0", "s2", "s3"]
            case "patient":
                calls.slides.DeletePatient(
                    slides_pb2.DeletePatientRequest(parent=calls.parent, patient_id="p")
                )
                assert calls.held() == []
            case "collection":
                from slidekin.v1 import collections_pb2  # noqa: PLC0415

                calls.collections.DeleteCollection(
                    collections_pb2.DeleteCollectionRequest(name=calls.parent, force=True)
                )
        assert status(calls).damaged_slide_count == 0
        service.stop()
    assert verify(service.folder / "store").returncode == 0


def test_a_snapshot_says_how_many_slides_were_damaged_already(service: ServiceProcess):
    edit(service, "UPDATE codes SET keys = x'00' WHERE number = 2")
    with service, service.channel() as channel:
        made = Calls(channel).admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(), timeout=60)
        assert (made.snapshot.slide_count, made.snapshot.damaged_slide_count) == (4, 1)


@pytest.mark.parametrize("damage", ["garbage", "half", "header", "empty", "missing"])
def test_a_broken_database_is_refused_with_the_way_back(service: ServiceProcess, damage: str):
    file = service.folder / "store" / DATABASE
    content = file.read_bytes()
    match damage:
        case "garbage":
            file.write_bytes(os.urandom(len(content)))
        case "half":
            os.truncate(file, len(content) // 2)
        case "header":
            file.write_bytes(b"\0" * 100 + content[100:])
        case "empty":
            os.truncate(file, 0)
        case "missing":
            file.unlink()
    said = refusal(service)
    assert str(file) in said
    snapshots = service.folder / "store-snapshots"
    (name,) = [entry.name for entry in snapshots.iterdir() if entry.is_dir()]
    assert str(snapshots / name) in said
    # What it says to do, done.
    command = said.partition("`slidekin-server ")[2].partition("`")[0].split()
    store = service.folder / "store"
    shutil.move(store, service.folder / "broken")
    done = subprocess.run(
        [sys.executable, "-m", "slidekin_server", *command],
        env=service_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with service, service.channel() as channel:
        assert Calls(channel).held() == ["s0", "s1", "s2", "s3"]


def test_a_missing_folder_is_not_taken_for_a_new_store(service: ServiceProcess):
    shutil.move(service.folder / "store", service.folder / "elsewhere")
    assert "holds snapshots" in refusal(service)
    assert not (service.folder / "store" / DATABASE).exists()


def test_the_newest_good_snapshot_is_named_not_a_damaged_newer_one(service: ServiceProcess):
    with service, service.channel() as channel:
        Calls(channel).admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(), timeout=60)
        service.stop()
    names = sorted(
        entry.name for entry in (service.folder / "store-snapshots").iterdir() if entry.is_dir()
    )
    os.truncate(service.folder / "store-snapshots" / names[-1] / DATABASE, 4096)
    (service.folder / "store" / DATABASE).unlink()
    said = refusal(service)
    assert names[0] in said
    assert names[-1] not in said


def test_a_lost_log_is_not_taken_for_an_empty_one(tmp_path: Path):
    """The log holds what was acknowledged last: without it the store is an older one."""
    service = ServiceProcess(tmp_path)
    with service:
        with service.channel() as channel:
            calls = Calls(channel)
            calls.create()
            calls.add("a", random_codes(1))
        service.kill()
    log = tmp_path / "store" / f"{DATABASE}-wal"
    kept = log.read_bytes()
    assert kept
    log.unlink()
    assert str(log) in refusal(service)
    log.write_bytes(kept)
    with service, service.channel() as channel:
        assert Calls(channel).held() == ["a"]


def test_a_store_of_which_a_page_is_broken_is_found_by_verify(service: ServiceProcess):
    file = service.folder / "store" / DATABASE
    content = bytearray(file.read_bytes())
    found = []
    for page in range(1, len(content) // 4096):
        broken = bytearray(content)
        broken[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
        file.write_bytes(broken)
        told = verify_quietly(service.folder / "store")
        if told:
            found.append(page)
    # Pages that hold nothing may say what they like.
    assert len(found) >= (len(content) // 4096) // 2
    file.write_bytes(content)
    assert not verify_quietly(service.folder / "store")


def verify_quietly(folder: Path) -> str:
    try:
        return "".join(map(str, verify_store(folder).damaged))
    except DamagedStoreError as error:
        return str(error)


def test_a_store_that_was_moved_away_takes_no_more_changes(tmp_path: Path):
    service = ServiceProcess(tmp_path)
    with service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        calls.add("a", random_codes(1))
        shutil.move(tmp_path / "store" / DATABASE, tmp_path / "moved")
        with pytest.raises(grpc.RpcError) as caught:
            calls.add("b", random_codes(2))
        failure = Failure.of(caught.value)
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.info.reason == "STORE_UNAVAILABLE"
        assert calls.search(random_codes(1), k=1).slides == ["a"]
        shutil.move(tmp_path / "moved", tmp_path / "store" / DATABASE)
        calls.add("b", random_codes(2))
        assert calls.held() == ["a", "b"]


def test_what_a_killed_service_had_deleted_is_off_the_disk_once_it_is_back(tmp_path: Path):
    service = ServiceProcess(tmp_path, environment={"SLIDEKIN_FAILPOINT": "store.before-erasure:1"})
    codes = random_codes(1, 60)
    with service:
        with service.channel() as channel:
            calls = Calls(channel)
            calls.create()
            calls.add("a", codes, patient_id="Erika Mustermann")
            with pytest.raises(grpc.RpcError):
                calls.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=calls.name("a")))
        service.kill()  # dead already: this only waits
        log = tmp_path / "store" / f"{DATABASE}-wal"
        assert b"Erika Mustermann" in log.read_bytes()
        service.environment = {}
        service.start()
        with service.channel() as channel:
            assert Calls(channel).held() == []
        on_disk = b"".join(file.read_bytes() for file in (tmp_path / "store").iterdir())
        assert b"Erika Mustermann" not in on_disk
        assert codes.textures[0].tobytes() not in on_disk


def test_a_store_closed_in_order_needs_no_log(tmp_path: Path):
    for number in range(3):
        with SqliteStore.open(tmp_path) as store:
            if not number:
                from tests.unit.server.store_conformance import COLLECTION  # noqa: PLC0415

                store.create_collection(COLLECTION)
            store.add_slide("colon", SlideFacts(f"s{number}"), random_codes(1, texture_bits=1024))
        assert not (tmp_path / f"{DATABASE}-wal").exists()
