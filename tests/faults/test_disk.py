"""A disk that is full, read-only or failing: no change, but searches, and nothing is lost."""

from __future__ import annotations

import contextlib
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tests.service_calls import Calls, Failure, random_codes
from tests.service_process import ServiceProcess
from tests.small_disk import fill, free, small_disk

from slidekin.v1 import admin_pb2, slides_pb2

MIB = 1024 * 1024
PATCHES = 10_000
"""Of a slide that takes 320 KB."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(small_disk(folder, size_mib=32))
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            pytest.skip(f"a small disk cannot be mounted here, which takes root: {error}")
        yield folder


@pytest.fixture
def service(tmp_path: Path, disk: Path) -> Iterator[ServiceProcess]:
    """A service whose store is on that disk, and its log elsewhere."""
    overrides = {"storage": {"path": str(disk / "store")}}
    with ServiceProcess(tmp_path / "service", overrides) as running:
        yield running


def refused(calls: Calls, slide: str, seed: int) -> Failure:
    with pytest.raises(grpc.RpcError) as caught:
        calls.add(slide, random_codes(seed, PATCHES))
    return Failure.of(caught.value)


def check_searches(calls: Calls, slides: int) -> None:
    assert calls.held() == [f"s{number}" for number in range(slides)]
    for number in range(slides):
        assert calls.search(random_codes(number), k=1).slides == [f"s{number}"]


def test_a_full_disk_refuses_slides_answers_searches_and_heals_by_itself(
    service: ServiceProcess, disk: Path
):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        for number in range(3):
            calls.add(f"s{number}", random_codes(number))
        fill(disk)
        for attempt in range(3):
            failure = refused(calls, f"new-{attempt}", 10 + attempt)
            assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert failure.info.reason == "STORE_FULL"
            assert "full" in failure.message
            assert failure.retry.retry_delay.ToMilliseconds() > 0
            check_searches(calls, 3)
        free(disk)
        calls.add("s3", random_codes(3))
        check_searches(calls, 4)
    service.kill()
    service.start()
    with service.channel() as channel:
        check_searches(Calls(channel), 4)


def test_on_a_full_disk_slides_can_be_deleted(service: ServiceProcess, disk: Path):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        for number in range(6):
            calls.add(f"s{number}", random_codes(number, PATCHES))
        fill(disk)
        assert refused(calls, "new", 10).info.reason == "STORE_FULL"
        for number in range(5, 0, -1):
            calls.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=calls.name(f"s{number}")))
            assert calls.held() == [f"s{kept}" for kept in range(number)]
        assert calls.search(random_codes(0, PATCHES), k=1).slides == ["s0"]
        assert (disk / "store" / "slidekin.reserve").stat().st_size > 0, "and kept back again"


def test_a_service_starts_on_a_full_disk(service: ServiceProcess, disk: Path):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        calls.add("s0", random_codes(0))
    for end in (service.kill, service.stop):
        end()
        if not (disk / "other").exists():
            fill(disk)
        service.start()
        with service.channel() as channel:
            calls = Calls(channel)
            check_searches(calls, 1)
            fill(disk)
            assert refused(calls, "new", 10).info.reason == "STORE_FULL"
    free(disk)
    with service.channel() as channel:
        Calls(channel).add("s1", random_codes(1))
        check_searches(Calls(channel), 2)


def test_a_snapshot_without_space_leaves_nothing(service: ServiceProcess, disk: Path):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        for number in range(3):
            calls.add(f"s{number}", random_codes(number, PATCHES))
        fill(disk, leave=MIB // 2)
        with pytest.raises(grpc.RpcError) as caught:
            calls.admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(), timeout=60)
        assert Failure.of(caught.value).info.reason == "STORE_FULL"
        listed = calls.admin.ListSnapshots(admin_pb2.ListSnapshotsRequest())
        assert not listed.snapshots
        assert not [entry for entry in (disk / "store-snapshots").iterdir() if entry.is_dir()]
        free(disk)
        calls.admin.CreateSnapshot(admin_pb2.CreateSnapshotRequest(), timeout=60)


def test_a_read_only_disk_is_told_at_the_start_and_changes_nothing(
    service: ServiceProcess, disk: Path
):
    with service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        calls.add("s0", random_codes(0))
    service.stop()
    before = (disk / "store" / "slidekin.sqlite3").read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
    written = service.log.stat().st_size
    with pytest.raises(RuntimeError):
        service.start()
    assert service.process is not None
    assert service.process.stdin is not None
    service.process.stdin.close()
    service.process = None
    said = service.log.read_bytes()[written:].decode()
    assert "cannot be written: make it writable" in said
    assert "Traceback" not in said
    assert (disk / "store" / "slidekin.sqlite3").read_bytes() == before
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True, timeout=30)
    service.start()
    with service.channel() as channel:
        check_searches(Calls(channel), 1)


def test_a_disk_that_fails_under_the_service_refuses_changes_and_heals(tmp_path: Path):
    """Every write to any file fails, as it does when a disk goes away, then works again."""
    with ServiceProcess(tmp_path) as service, service.channel() as channel:
        calls = Calls(channel)
        calls.create()
        calls.add("s0", random_codes(0))
        assert service.process is not None
        usual = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
        for attempt in range(3):
            resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (0, usual[1]))
            failure = refused(calls, f"new-{attempt}", 10 + attempt)
            assert failure.code is grpc.StatusCode.UNAVAILABLE
            assert failure.info.reason == "STORE_UNAVAILABLE"
            assert "repeat" in failure.message
            check_searches(calls, 1)
            resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, usual)
        calls.add("s1", random_codes(1))
        check_searches(calls, 2)
        service.kill()
        service.start()
        with service.channel() as again:
            check_searches(Calls(again), 2)
