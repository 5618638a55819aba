"""The audit log's parts: whole lines on any disk, bounded memory, hashes that stay."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from slidekin_server.access.audit import _MAX_WAITING, AuditLog
from slidekin_server.access.audit_file import RotatedFile
from slidekin_server.access.errors import AccessSetupError
from slidekin_server.access.key_file import KeyFile
from slidekin_server.access.pseudonyms import Pseudonyms
from slidekin_server.access.roles import Grant, Role
from slidekin_server.telemetry import Metrics

FULL_AT = 1000

WRITE_PAST_THE_LIMIT = """
import sys
from pathlib import Path
from slidekin_server.access.audit_file import RotatedFile
file = RotatedFile(Path(sys.argv[1]), max_bytes=10**9, files=2)
file.append([b"first\\n"])
try:
    file.append([b"x" * 600 + b"\\n", b"y" * 600 + b"\\n"])
except OSError as error:
    print(error.errno)
file.append([b"last\\n"])
"""


def test_a_disk_that_fills_in_the_midst_leaves_whole_lines(tmp_path: Path):
    path = tmp_path / "log"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT, FULL_AT))

    command = [sys.executable, "-c", WRITE_PAST_THE_LIMIT, str(path)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, timeout=60, check=True)
    assert done.stdout, "the write failed"
    assert path.read_bytes() == b"first\nlast\n"


def test_a_file_that_others_move_away_is_begun_anew(tmp_path: Path):
    file = RotatedFile(tmp_path / "log", max_bytes=100, files=2)
    file.append([b"a\n"])
    (tmp_path / "log").rename(tmp_path / "moved")
    file.append([b"b\n"])
    assert (tmp_path / "moved").read_bytes() == b"a\n"
    assert (tmp_path / "log").read_bytes() == b"b\n"


@pytest.mark.parametrize("files", [1, 2, 4])
def test_as_many_files_are_kept_as_asked_for(tmp_path: Path, files: int):
    file = RotatedFile(tmp_path / "log", max_bytes=10, files=files)
    for number in range(9):
        file.append([f"line {number}\n".encode()])
    kept = ["log", "log.1", "log.2", "log.3"][:files]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    assert [(tmp_path / name).read_text() for name in kept] == [
        f"line {8 - age}\n" for age in range(files)
    ]


def test_lines_that_find_no_room_are_counted_and_the_log_says_so(tmp_path: Path):
    registry = CollectorRegistry()
    path = tmp_path / "log"
    log = AuditLog(
        RotatedFile(path, max_bytes=10**9, files=2),
        Pseudonyms(b"k" * 32),
        Metrics(registry),
        refuse=False,
    )
    path.unlink()
    path.symlink_to("/dev/full")
    for number in range(_MAX_WAITING + 7):
        log.write({"number": number})
    path.unlink()
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["number"] for line in lines if "number" in line] == list(range(_MAX_WAITING))
    assert [line["count"] for line in lines if line.get("event") == "entries lost"] == [7]
    lost = registry.get_sample_value("slidekin_log_write_failures_total", {"log": "audit"})
    assert lost == 7


def test_the_key_stays_and_is_its_owners_alone(tmp_path: Path):
    first = Pseudonyms.of(tmp_path / "access").hash("patient", "P-1")
    assert Pseudonyms.of(tmp_path / "access").hash("patient", "P-1") == first
    assert Pseudonyms.reading(tmp_path / "access").hash("slide", "P-1") != first
    assert Pseudonyms.of(tmp_path / "other").hash("patient", "P-1") != first


def test_a_key_that_is_none_is_no_reason_to_make_another(tmp_path: Path):
    (tmp_path / "audit.key").write_bytes(b"short")
    with pytest.raises(AccessSetupError, match="is no key"):
        Pseudonyms.of(tmp_path)


def test_what_root_makes_belongs_to_whom_the_folder_belongs(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(tmp_path, 1234, 1234)
    folder = tmp_path / "access"
    Pseudonyms.of(folder)
    KeyFile(folder).create("lab", [Grant(Role.READER, "*")])
    for path in (folder, *folder.iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1234), path
    assert sorted(path.name for path in folder.iterdir()) == ["audit.key", "keys.json"]


def test_of_two_that_make_a_key_at_once_both_use_the_same(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Pseudonyms.of(tmp_path).hash("patient", "P"), range(32)))
    assert len(set(made)) == 1


def test_keys_made_at_once_are_all_kept(tmp_path: Path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: KeyFile(tmp_path).create(f"k{n}", []), range(20)))
    assert {key.name for key in KeyFile(tmp_path).read()} == {f"k{n}" for n in range(20)}
