"""``slidekin evaluate`` and ``evaluate-tiles`` on a running service."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.integration.client.conftest import Run
from tests.integration.client.encoder import quick_encoder
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import write_bundle

from slidekin import Client, Retry, SearchOptions, Slide, SlideFilter, UnavailableError
from slidekin.evaluation import (
    EvaluationError,
    EvaluationSettings,
    SlideFiles,
    evaluate,
    evaluate_tiles,
    find_tiles,
)

QUICK = EvaluationSettings(ks=(1, 3), resamples=50)


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Twelve tiles of three colours, named for them."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        label = ("red", "green", "blue")[number % 3]
        pixels = rng.integers(0, 60, (96, 96, 3), dtype=np.uint8)
        pixels[..., number % 3] += 150
        Image.fromarray(pixels).save(folder / f"t{number}_{label}.png")
    return folder


def temporary(client: Client) -> list[str]:
    return [c.name for c in client.list_collections() if "evaluate-tiles" in c.name]


def test_all_modes_stand_beside_the_baseline_and_are_written(
    run: Run,
    shared: str,
    drawn: Path,
    tmp_path: Path,
):
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "html")}
    result = run(
        "evaluate", shared, "--slides", drawn, "-k", "1", "-k", "2", "--resamples", "100",
        "--json", files["json"], "--html", files["html"],
    )  # fmt: skip
    for word in ("guided", "exact", "hybrid", "RGB histogram", "mMV@1", "mAP@2", "8 queries"):
        assert word in result.stdout
    content = json.loads(files["json"].read_text())
    assert [m["name"] for m in content["methods"]] == ["guided", "exact", "hybrid", "histogram"]
    assert content["labels"] == {"adipose": 4, "glands": 4}
    assert content["patients"] == 4
    # Drawn patterns are told apart by anything.
    for method in content["methods"]:
        assert method["scores"][0]["mMV"]["macro"]["value"] == 1
    page = files["html"].read_text()
    assert page.count("data:image/jpeg") > 20
    assert "no picture" not in page


def test_no_slide_finds_a_slide_of_its_own_patient(client: Client, shared: str, drawn: Path):
    paths = {path.stem: path for path in drawn.glob("*.tiff")}
    result = evaluate(client, shared, QUICK, slide_files=paths)
    patient = {slide.name: slide.patient_id for slide in client.list_slides(shared)}
    assert [method.name for method in result.methods] == ["guided", "exact", "hybrid", "histogram"]
    for method in result.methods:
        assert len(method.answers) == 8
        for answer in method.answers:
            assert answer.found
            assert all(patient[f.name] != answer.subject.patient_id for f in answer.found)


def test_the_answers_are_those_of_the_search_itself(client: Client, shared: str):
    settings = dataclasses.replace(
        QUICK, modes=("exact",), options=SearchOptions(hamming_threshold_bits=500)
    )
    (method,) = evaluate(client, shared, settings).methods
    for answer in method.answers:
        alone = client.search_stored_slide(
            answer.subject.name,
            options=SearchOptions(
                k=3,
                mode="exact",
                hamming_threshold_bits=500,
                filter=dataclasses.replace(
                    SearchOptions().filter, exclude_patient_ids=[answer.subject.patient_id]
                ),
            ),
        )
        assert [f.name for f in answer.found] == [s.slide.name for s in alone.slides]
        assert [f.label for f in answer.found] == [s.slide.label for s in alone.slides]


def test_slides_without_a_label_neither_ask_nor_are_found(client: Client, filled: str):
    for slide_id in ("glands-p1-s1", "adipose-p2-s2"):
        client.update_slide(slide_id, collection=filled, label="")
    result = evaluate(client, filled, QUICK)
    assert sum(result.labels.values()) == 6
    assert any("2 of 8 slides have no label" in note for note in result.notes)
    names = {f.slide_id for m in result.methods for a in m.answers for f in a.found}
    assert not names & {"glands-p1-s1", "adipose-p2-s2"}


def test_a_slide_that_is_deleted_meanwhile_is_said_and_not_counted(client: Client, filled: str):
    deleted = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "exact" and not deleted:
            client.delete_slide("glands-p1-s1", collection=filled)
            deleted.append(True)

    settings = dataclasses.replace(QUICK, jobs=1)
    result = evaluate(client, filled, settings, progress=progress)
    assert sum(result.labels.values()) == 7
    assert all(len(method.answers) == 7 for method in result.methods)
    assert any("1 slides were deleted meanwhile" in note for note in result.notes)
    assert any("changed meanwhile" in note for note in result.notes)


@pytest.mark.parametrize(
    "case",
    [
        (None, (), "holds no slides"),
        ("", None, "has a label"),
        ("same", None, "at least two labels"),
        (None, ("glands-p1-s1", "glands-p1-s2"), "at least two"),
    ],
)
def test_nothing_to_evaluate_is_said_with_its_cure(
    run: Run,
    client: Client,
    filled: str,
    case: tuple[str | None, tuple[str, ...] | None, str],
):
    label, kept, told = case
    for slide in list(client.list_slides(filled)):
        if kept is not None and slide.slide_id not in kept:
            client.delete_slide(slide.name)
        elif label is not None:
            client.update_slide(slide.name, label=label)
    assert told in run("evaluate", filled, code=1).stderr


def test_one_patient_alone_cannot_be_evaluated(client: Client, filled: str):
    for slide in list(client.list_slides(filled)):
        if slide.patient_id != "glands-p1":
            client.delete_slide(slide.name)
    client.update_slide("glands-p1-s1", collection=filled, label="other")
    with pytest.raises(EvaluationError, match="of one patient"):
        evaluate(client, filled, QUICK)


def test_a_label_of_one_patient_is_named(client: Client, filled: str):
    client.update_slide("glands-p1-s1", collection=filled, label="rare")
    result = evaluate(client, filled, QUICK)
    assert any("1 labels (rare) are held by one patient only" in note for note in result.notes)


def test_without_the_files_of_all_slides_there_is_no_baseline_and_the_reason_is_given(
    run: Run,
    shared: str,
    drawn: Path,
    tmp_path: Path,
):
    assert "No colour-histogram baseline" in run("evaluate", shared, "--mode", "guided").stdout
    some = tmp_path / "some"
    some.mkdir()
    for path in sorted(drawn.glob("*.tiff"))[1:]:
        shutil.copy(path, some)
    missing = run("evaluate", shared, "--mode", "guided", "--slides", some).stdout
    assert "1 of 8 slides have no pixels here" in missing
    assert "no file of slide adipose-p1-s1" in missing
    (some / "adipose-p1-s1.tiff").write_text("no slide")
    assert "not a slide of any format" in run(
        "evaluate", shared, "--mode", "guided", "--slides", some
    ).stdout  # fmt: skip


def test_a_file_of_another_size_is_not_taken_for_the_slide(
    client: Client, shared: str, drawn: Path
):
    (slide,) = client.list_slides(shared, filter=SlideFilter(slides=["glands-p1-s1"]))
    corners = {slide.name: [(0, 0)]}
    paths = {"glands-p1-s1": drawn / "glands-p1-s1.tiff"}

    def read(stored: Slide) -> int:
        files = SlideFiles(paths, {slide.name: stored}, corners)
        (made,) = files.histograms([slide.name], workers=1, progress=lambda *_: None)
        return len(made.vectors)

    assert read(slide) == 1
    with pytest.raises(EvaluationError, match="another slide"):
        read(dataclasses.replace(slide, width_px=slide.width_px + 1))


def test_without_files_a_report_shows_the_pictures_that_the_service_keeps(
    run: Run, shared: str, tmp_path: Path
):
    run("evaluate", shared, "--mode", "exact", "-k", "2", "--html", tmp_path / "out.html")
    page = (tmp_path / "out.html").read_text()
    assert page.count("data:image/jpeg") > 5
    assert "no picture" not in page


def test_tiles_are_evaluated_and_leave_nothing_behind(
    run: Run,
    client: Client,
    tiles: Path,
    tmp_path: Path,
):
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "html")}
    result = run(
        "evaluate-tiles", tiles, "--pattern", "_(?P<label>[a-z]+)[.]", "-k", "1", "-k", "3",
        "--resamples", "100", "--threshold", "900",
        "--json", files["json"], "--html", files["html"],
    )  # fmt: skip
    assert "12 tiles of tiles: 12 queries, 3 labels" in result.stdout
    content = json.loads(files["json"].read_text())
    assert content["labels"] == {"blue": 4, "green": 4, "red": 4}
    assert content["methods"][3]["scores"][1]["mMV"]["macro"]["value"] == 1
    assert content["settings"]["hamming_threshold_bits"] == 900
    assert "no picture" not in files["html"].read_text()
    assert temporary(client) == []


def test_tiles_take_labels_and_patients_from_a_table(
    run: Run,
    tiles: Path,
    tmp_path: Path,
):
    rows = ["slide,patient,label"]
    rows += [
        f"{path.name},p{n // 4},{'xy'[n % 2]}" for n, path in enumerate(sorted(tiles.iterdir()))
    ]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(rows[:-1]))
    result = run("evaluate-tiles", tiles, "--labels", table, "--mode", "exact")
    assert "1 of 12 pictures have no label" in result.stderr
    assert "11 queries, 2 labels, 3 patients" in " ".join(result.stdout.split())


def test_a_bad_tile_ends_the_run_by_name_and_leaves_nothing_behind(client: Client, tiles: Path):
    (tiles / "t99_red.png").write_bytes(b"no picture")
    found, _ = find_tiles(tiles, pattern="_(?P<label>[a-z]+)[.]")
    with pytest.raises(EvaluationError, match=r"t99_red\.png: cannot be read"):
        evaluate_tiles(client, found, QUICK)
    assert temporary(client) == []


def test_tiles_of_one_label_are_refused_before_anything_is_sent(client: Client, tiles: Path):
    found, _ = find_tiles(tiles, pattern="(?P<label>t)")
    with pytest.raises(EvaluationError, match="fewer than two labels"):
        evaluate_tiles(client, found, QUICK)


@pytest.mark.parametrize("stage", ["encode", "exact"])
def test_an_interrupted_run_leaves_nothing_behind(client: Client, tiles: Path, stage: str):
    found, _ = find_tiles(tiles, pattern="_(?P<label>[a-z]+)[.]")

    def interrupt(told: str, done: int, total: int) -> None:
        if told == stage and done == 2:
            assert len(temporary(client)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_tiles(client, found, QUICK, progress=interrupt)
    assert temporary(client) == []


def test_a_service_that_goes_away_is_said_and_so_is_what_stays_behind(
    tiles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    found, _ = find_tiles(tiles, pattern="_(?P<label>[a-z]+)[.]")
    with quick_encoder() as url:
        overrides = {
            "model": {"bundle": str(write_bundle(tmp_path / "bundle"))},
            "triton": {"url": url},
        }
        with (
            ServiceProcess(tmp_path / "run", overrides, codes_only=False) as own,
            Client(own.url, retry=Retry(attempts=1)) as client,
        ):

            def end(stage: str, done: int, total: int) -> None:
                if stage == "exact":
                    own.kill()

            with pytest.raises(UnavailableError):
                evaluate_tiles(client, found, QUICK, progress=end)
    assert "evaluate-tiles-" in caplog.text
    assert "could not be deleted" in caplog.text


def test_ctrl_c_of_the_command_leaves_nothing_behind(
    service: ServiceProcess, client: Client, tiles: Path
):
    for number in range(12, 400):
        shutil.copy(tiles / "t0_red.png", tiles / f"t{number}_red.png")
    command = [sys.executable, "-m", "slidekin.cli", "evaluate-tiles", str(tiles)]
    command += ["--pattern", "_(?P<label>[a-z]+)[.]", "--server", service.url, "--jobs", "2"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ.copy(), text=True
    ) as process:
        while not any(client.get_collection(name).slide_count for name in temporary(client)):
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert temporary(client) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate-tiles", "/nowhere/at/all"], "not a folder"),
        (["evaluate-tiles", "/tmp", "--pattern", "x", "--labels", "y"], "either"),
        (["evaluate", "c", "--html", "/nowhere/at/all.html"], "not a folder"),
        (["evaluate", "c", "--slides", "/nowhere/at/all"], "does not exist"),
        (["evaluate", "c", "-k", "0"], "k"),
        (["evaluate", "c", "--mode", "fast"], "fast"),
    ],
)
def test_wrong_usage_says_so(run: Run, arguments: list[str], told: str):
    assert told in run(*arguments, code=2).output
