"""Every named point is come by and ends the process there; unasked, none is armed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.service_process import service_environment

from slidekin_server import failpoints
from slidekin_server.failpoints import VARIABLE, Failpoint

# Comes by every point there is, without a network in between.
ALL_OF_IT = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from slidekin_server.archive.archive import Archive
from slidekin_server.archive.backup import Backup
from slidekin_server.archive.reindex import Reindexer
from slidekin_server.storage import *
from slidekin_server.telemetry import Metrics
from tests.service_calls import FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS, random_codes

OTHER = "other"
folder = Path(sys.argv[1])
snapshots = Snapshots(folder / "snapshots")
for run in range(2):
    store = open_store(folder / "store", snapshots, synchronous="full")
    metrics = Metrics(CollectorRegistry())
    archive = Archive(store, metrics)
    archive.load()
    if not archive.views():
        archive.create_collection(CollectionRecord("c", FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS))
    archive.add_slide("c", SlideFacts("a"), random_codes(run), replace=True)
    reindexer = Reindexer(archive.shelf)
    other = FINGERPRINT if archive.view("c").collection.fingerprint == OTHER else OTHER
    reindex = reindexer.start(CollectionRecord("c", other, TEXTURE_BITS, THRESHOLD_BITS))
    reindexer.add_slide(reindex, "a", archive.load_slide("c", "a").codes)
    reindexer.finish("c", other, drop=())
    made, _ = Backup(store, snapshots, metrics).create()
    store.close()
restore_snapshot(snapshots.folder / made.name, folder / "restored")
print("survived")
"""


def run_all_of_it(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = service_environment()
    paths["PYTHONPATH"] = os.pathsep.join([paths["PYTHONPATH"], str(Path(__file__).parents[2])])
    return subprocess.run(
        [sys.executable, "-c", ALL_OF_IT, str(folder)],
        env={**paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("point", Failpoint, ids=lambda point: point.value)
def test_every_point_is_come_by(tmp_path: Path, point: Failpoint):
    done = run_all_of_it(tmp_path, **{VARIABLE: f"{point.value}:1"})
    assert done.returncode == -signal.SIGKILL, done.stderr
    # And whatever was going on there: the next run goes through.
    again = run_all_of_it(tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("survived\n")


def test_without_the_variable_nothing_is_armed():
    assert failpoints._armed({}) is None


@pytest.mark.parametrize("setting", ["nonsense:1", "store.before-commit", "store.before-commit:0"])
def test_a_wrong_setting_is_refused_with_all_names(setting: str):
    with pytest.raises(ValueError, match=r"start\.store-created"):
        failpoints._armed({VARIABLE: setting})
