"""Golden databases as files of the published program, imported, and asked their queries."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests import golden_run
from tests.golden import databases
from tests.paths import golden_dir
from tests.published_release import (
    FINGERPRINT,
    PublishedRelease,
    import_command,
    published_bundle,
)
from tests.service_process import ServiceProcess, service_environment


@pytest.mark.parametrize("name", databases.NAMES)
def test_an_imported_database_answers_as_the_published_program(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    golden = databases.load(name)
    release = PublishedRelease(tmp_path / "release")
    # In order of insertion; the slides' files are found in the order of their names.
    for number, own in golden.slides:
        facts = {"label": golden.labels[number] or "", "patient": golden.patients[number] or ""}
        release.add(golden.names[number], own, **facts)
    release.write_meta()
    options = ("--label-field", "label", "--patient-field", "patient")
    bundle = published_bundle(tmp_path / "bundle")
    monkeypatch.setattr(golden_run, "_FINGERPRINT", FINGERPRINT)
    with ServiceProcess(tmp_path / "service").start() as service, service.channel() as channel:
        command = import_command(release, bundle, service.url, f"golden-{name}", *options)
        done = subprocess.run(
            command, env=service_environment(), check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        asked = golden_run._Database(golden_dir(), name, channel)
        differences = [asked._ask(query) for query in asked._queries]
    assert differences == [""] * len(golden.queries)
    assert len(differences) > 0
