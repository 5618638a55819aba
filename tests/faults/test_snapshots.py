"""Snapshots of a running service: whole, restorable, and never taken for what they are not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.service_calls import Calls, Failure, random_codes
from tests.service_process import ServiceProcess, service_environment

from slidekin.v1 import admin_pb2, slides_pb2
from slidekin_server.failpoints import VARIABLE
from slidekin_server.storage import (
    CollectionRecord,
    DamagedSnapshotError,
    FolderNotEmptyError,
    SlideFacts,
    SnapshotNotFoundError,
    Snapshots,
    SqliteStore,
    check_snapshot,
    restore_snapshot,
)

DATABASE = "slidekin.sqlite3"


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slidekin_server", *map(str, arguments)],
        env={**service_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot of a store of three slides."""
    with SqliteStore.open(tmp_path / "origin") as store:
        store.create_collection(CollectionRecord("c", "f" * 64, 128, 24))
        for number in range(3):
            store.add_slide("c", SlideFacts(f"s{number}"), random_codes(number, 60))
        snapshots = Snapshots(tmp_path / "snapshots")
        return snapshots.folder / snapshots.create(store).name


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path / "service") as running:
        yield running


def make(calls: Calls) -> admin_pb2.Snapshot:
    return calls.admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(), timeout=60).snapshot


def test_a_snapshot_taken_under_writes_is_one_moment_and_comes_back_whole(
    service: ServiceProcess, tmp_path: Path
):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        calls.add("before", random_codes(0, 60))
        done = threading.Event()

        def write() -> None:
            number = 0
            while not done.is_set():
                # The second is never there without the first.
                calls.add(f"first-{number}", random_codes(2 * number + 1))
                calls.add(f"second-{number}", random_codes(2 * number + 2))
                number += 1

        writing = threading.Thread(target=write)
        writing.start()
        made = [make(calls) for _ in range(5)]
        done.set()
        writing.join()
        listed = calls.admin.ListSnapshots(admin_pb2.ListSnapshotsRequest()).snapshots
        assert list(listed) == made[::-1]
        assert [one.sequence for one in made] == sorted(one.sequence for one in made)
        request = admin_pb2.CheckSnapshotRequest(name=made[0].name)
        assert calls.admin.CheckSnapshot(request).snapshot == made[0]
    for one in made:
        folder = tmp_path / "service" / "store-snapshots" / one.name.partition("/")[2]
        restored = tmp_path / folder.name
        done_by_command = command("restore", folder, "--to", restored)
        assert done_by_command.returncode == 0, done_by_command.stderr
        assert f"{one.slide_count} slides" in done_by_command.stdout
        with SqliteStore.open(restored) as store:
            held = {slide.record.facts.slide_id for slide in store.iter_slides("test")}
            assert store.last_sequence() == one.sequence
        assert "before" in held
        assert len(held) == one.slide_count
        for name in held:
            assert name.replace("second", "first") in held


def test_a_service_starts_from_a_restored_snapshot_and_answers_as_before(
    service: ServiceProcess, tmp_path: Path
):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        for number in range(5):
            calls.add(f"s{number}", random_codes(number, 20), label="AB"[number % 2])
        answer = calls.search(random_codes(2, 20), k=5).ranked.slides
        taken = command("snapshot", "--server", service.url)
        assert taken.returncode == 0, taken.stderr
        name = taken.stdout.partition(":")[0].removeprefix("snapshots/")
        calls.add("later", random_codes(9))
    service.stop()
    shutil.rmtree(tmp_path / "service" / "store")
    source = tmp_path / "service" / "store-snapshots" / name
    assert command("verify", source).returncode == 0
    assert command("restore", source, "--to", tmp_path / "service" / "store").returncode == 0
    service.start()
    with service.channel() as channel:
        calls = Calls(channel)
        assert calls.held() == [f"s{number}" for number in range(5)]
        assert calls.search(random_codes(2, 20), k=5).ranked.slides == answer
        calls.add("again", random_codes(10))
    service.stop()
    assert command("verify", tmp_path / "service" / "store").returncode == 0


def test_a_missing_snapshot_is_named(service: ServiceProcess):
    with service.channel() as channel:
        for name, code in (
            ("snapshots/20260101T000000000000Z-1", grpc.StatusCode.NOT_FOUND),
            ("snapshots/../store", grpc.StatusCode.INVALID_ARGUMENT),
            ("nonsense", grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                Calls(channel).admin.CheckSnapshot(admin_pb2.CheckSnapshotRequest(name=name))
            assert Failure.of(caught.value).code is code
            assert name in Failure.of(caught.value).message


def test_a_damaged_snapshot_is_listed_with_its_problem_and_refused(
    service: ServiceProcess, tmp_path: Path
):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        made = make(calls)
        folder = tmp_path / "service" / "store-snapshots" / made.name.partition("/")[2]
        (folder / "manifest.json").write_text("{}")
        (listed,) = calls.admin.ListSnapshots(admin_pb2.ListSnapshotsRequest()).snapshots
        assert listed.name == made.name
        assert "damaged" in listed.problem
        with pytest.raises(grpc.RpcError) as caught:
            calls.admin.CheckSnapshot(admin_pb2.CheckSnapshotRequest(name=made.name))
        failure = Failure.of(caught.value)
        assert failure.code is grpc.StatusCode.DATA_LOSS
        assert failure.info.reason == "DAMAGED_SNAPSHOT"
        assert made.name in failure.message


def flip(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("place", [0, 0.001, 0.3, 0.5, 0.7, 0.999, 1])
def test_one_wrong_bit_anywhere_in_the_database_is_found(
    snapshot: Path, tmp_path: Path, place: float
):
    flip(snapshot / DATABASE, place)
    with pytest.raises(DamagedSnapshotError, match=snapshot.name):
        restore_snapshot(snapshot, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    done = command("verify", snapshot)
    assert done.returncode == 1
    assert snapshot.name in done.stderr


def test_a_truncated_database_is_found(snapshot: Path):
    os.truncate(snapshot / DATABASE, (snapshot / DATABASE).stat().st_size - 1)
    with pytest.raises(DamagedSnapshotError, match="bytes instead of"):
        check_snapshot(snapshot)


def test_a_manifest_that_was_changed_missing_or_no_manifest_is_found(snapshot: Path):
    file = snapshot / "manifest.json"
    written = file.read_text()
    for content in (
        written.replace('"slide_count": 3', '"slide_count": 4'),
        written[: len(written) // 2],
        "[]",
        "",
    ):
        assert content != written
        file.write_text(content)
        with pytest.raises(DamagedSnapshotError, match=r"manifest\.json"):
            check_snapshot(snapshot)
    file.unlink()
    with pytest.raises(DamagedSnapshotError, match=r"manifest\.json is missing"):
        check_snapshot(snapshot)
    with pytest.raises(SnapshotNotFoundError):
        check_snapshot(snapshot.with_name("other"))


def test_a_missing_database_is_found(snapshot: Path):
    (snapshot / DATABASE).unlink()
    with pytest.raises(DamagedSnapshotError, match="is missing"):
        check_snapshot(snapshot)


def test_nothing_is_overwritten(snapshot: Path, tmp_path: Path):
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(FolderNotEmptyError, match=r"letter\.txt"):
        restore_snapshot(snapshot, folder)
    assert (folder / "letter.txt").read_text() == "mine"
    done = command("restore", snapshot, "--to", tmp_path / "origin")
    assert done.returncode == 1
    assert "not empty" in done.stderr


@pytest.mark.parametrize("point", ["restore.copying", "restore.before-publish"])
def test_a_restore_that_was_killed_leaves_no_store_and_can_be_done_again(
    snapshot: Path, tmp_path: Path, point: str
):
    folder = tmp_path / "new"
    killed = command("restore", snapshot, "--to", folder, **{VARIABLE: f"{point}:1"})
    assert killed.returncode == -signal.SIGKILL
    assert not (folder / DATABASE).exists()
    assert command("verify", folder).returncode == 1
    assert command("restore", snapshot, "--to", folder).returncode == 0
    with SqliteStore.open(folder) as store:
        assert len(store.list_slides("c")) == 3


def test_what_a_killed_snapshot_left_is_swept_up_by_the_next(snapshot: Path, tmp_path: Path):
    folder = tmp_path / "snapshots"
    (folder / ".draft-0123").mkdir()
    (folder / ".draft-0123" / DATABASE).write_bytes(b"half")
    with SqliteStore.open(tmp_path / "origin") as store:
        made = Snapshots(folder).create(store)
    assert sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) == sorted(
        [snapshot.name, made.name]
    )


def test_of_old_snapshots_as_many_are_kept_as_asked_for_and_nothing_else_is_touched(
    service: ServiceProcess, tmp_path: Path
):
    folder = tmp_path / "service" / "store-snapshots"
    with service.channel() as channel:
        Calls(channel).create()
        first, broken, short, *later = [
            make(Calls(channel)).name.partition("/")[2] for _ in range(6)
        ]
        (folder / broken / "manifest.json").write_text("{}")
        os.truncate(folder / short / DATABASE, 10)
        shutil.copytree(folder / first, folder / "before-the-upgrade")
        (folder / "letters").mkdir()
        (folder / "letters" / "mine.txt").write_text("mine")
        others = {broken, short, "before-the-upgrade", "letters"}

        assert kept(folder) == {first, *later} | others
        taken = command("snapshot", "--server", service.url, "--keep", 3)
        assert taken.returncode == 0, taken.stderr
        newest = taken.stdout.partition(":")[0].removeprefix("snapshots/")
        removed = [f"removed: snapshots/{name}" for name in (first, later[0])]
        assert taken.stdout.splitlines()[1:] == removed
        assert kept(folder) == {*later[1:], newest} | others
        check_snapshot(folder / newest)

        environment = {"SLIDEKIN_SNAPSHOTS_KEPT": "1"}
        taken = command("snapshot", "--server", service.url, **environment)
        newest = taken.stdout.partition(":")[0].removeprefix("snapshots/")
        assert kept(folder) == {newest} | others
        for wrong in (0, -1):
            assert command("snapshot", "--server", service.url, "--keep", wrong).returncode == 2
        with pytest.raises(grpc.RpcError) as caught:
            Calls(channel).admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(keep_count=-1))
        assert Failure.of(caught.value).code is grpc.StatusCode.INVALID_ARGUMENT
        assert kept(folder) == {newest} | others


def kept(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir() if entry.is_dir()}


@pytest.mark.parametrize("point", ["snapshot.copying", "snapshot.before-publish"])
def test_where_the_new_one_fails_no_old_one_goes(tmp_path: Path, point: str):
    service = ServiceProcess(tmp_path / "service")
    folder = tmp_path / "service" / "store-snapshots"
    with service, service.channel() as channel:
        Calls(channel).create()
        before = {make(Calls(channel)).name.partition("/")[2] for _ in range(3)}
    failing = ServiceProcess(tmp_path / "service", environment={VARIABLE: f"{point}:1"})
    failing.start()
    assert command("snapshot", "--server", failing.url, "--keep", 1).returncode == 1
    failing.ended()
    assert before <= kept(folder)
    # What the killed one left goes with the next snapshot.
    with service, service.channel():
        assert command("snapshot", "--server", service.url, "--keep", 4).returncode == 0
    assert before < kept(folder)
    assert len(kept(folder)) == 4


def test_the_new_one_stays_whatever_the_clock_says_of_the_others(snapshot: Path, tmp_path: Path):
    snapshots = Snapshots(snapshot.parent)
    with SqliteStore.open(tmp_path / "origin") as store:
        newer = snapshots.create(store)
        oldest = snapshots.read(snapshot.name)
    assert snapshots.remove_old(oldest, 1) == [newer.name]
    assert snapshots.names() == [snapshot.name]


def test_a_snapshot_is_data_alone_and_asks_for_nothing_beside_it(snapshot: Path):
    assert sorted(entry.name for entry in snapshot.iterdir()) == [
        "manifest.json",
        DATABASE,
    ]
    stated = json.loads((snapshot / "manifest.json").read_text())
    assert stated["format"] == "slidekin snapshot 1"
    check_snapshot(snapshot)
    assert len(list(snapshot.iterdir())) == 2, "a look at it writes nothing"


def test_deleted_slides_are_in_no_later_snapshot(service: ServiceProcess, tmp_path: Path):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        calls.add("kept", random_codes(1))
        calls.add("erased", random_codes(2), patient_id="Erika Mustermann")
        calls.slides.DeletePatient(
            slides_pb2.DeletePatientRequest(parent="collections/-", patient_id="Erika Mustermann")
        )
        made = make(calls)
    folder = tmp_path / "service" / "store-snapshots" / made.name.partition("/")[2]
    assert b"Mustermann" not in (folder / DATABASE).read_bytes()
