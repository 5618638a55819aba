"""The command line against a real service: what is printed and written, and how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.client.conftest import Run
from tests.integration.client.encoder import quick_encoder
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import write_bundle
from typer.testing import CliRunner

from slidekin import Client
from slidekin.cli import app


def test_ingest_makes_the_collection_and_adds_what_the_label_file_says(
    run: Run, client: Client, collection: str, drawn: Path
):
    result = run("ingest", drawn, "-c", collection, "--labels", drawn / "labels.csv")
    assert f"collection {collection}: 8 added; 32 patches encoded" in result.stdout
    slide = client.get_slide("glands-p1-s2", collection=collection)
    assert (slide.label, slide.patient_id) == ("glands", "glands-p1")
    assert "block" in slide.attributes


def test_ingest_skips_what_is_there_and_follows_the_label_file(
    run: Run, client: Client, filled: str, drawn: Path, tmp_path: Path
):
    again = run("ingest", drawn, "-c", filled, "--labels", drawn / "labels.csv")
    assert "8 there already; 0 patches encoded" in again.stdout
    labels = tmp_path / "labels.csv"
    labels.write_text(
        (drawn / "labels.csv").read_text().replace("glands-p1,glands,", "glands-p1,other,")
    )
    changed = run("ingest", drawn, "-c", filled, "--labels", labels)
    assert "6 there already, 2 label or attributes updated" in changed.stdout
    assert client.get_slide("glands-p1-s1", collection=filled).label == "other"
    run("ingest", drawn, "-c", filled)
    assert client.get_slide("glands-p1-s1", collection=filled).label == "other"


def test_one_bad_slide_does_not_stop_the_rest_and_is_listed_with_its_reason(
    run: Run, client: Client, collection: str, drawn: Path, tmp_path: Path
):
    slides = tmp_path / "slides"
    slides.mkdir()
    good = drawn / "adipose-p1-s1.tiff"
    shutil.copy(good, slides / "good.tiff")
    (slides / "cut.tiff").write_bytes(good.read_bytes()[:20_000])
    (slides / "text.svs").write_text("no slide at all")
    shutil.copytree(slides, slides / "twin", ignore=shutil.ignore_patterns("cut*", "text*"))
    result = run("ingest", slides, slides / "gone.svs", "-c", collection, code=1)
    assert f"collection {collection}: 1 added, 4 failed" in result.stdout
    told = result.stdout.partition("Slides that failed:")[2]
    assert all(name in told for name in ("cut.tiff", "text.svs", "gone.svs", "twin/good.tiff"))
    assert "no such file" in told
    assert "same id" in told
    assert [slide.slide_id for slide in client.list_slides(collection)] == ["good"]


def test_other_content_under_a_held_id_is_refused_unless_it_replaces(
    run: Run, collection: str, drawn: Path, tmp_path: Path
):
    slide = tmp_path / "s.tiff"
    shutil.copy(drawn / "adipose-p1-s1.tiff", slide)
    run("ingest", slide, "-c", collection)
    shutil.copy(drawn / "glands-p1-s1.tiff", slide)
    refused = run("ingest", slide, "-c", collection, code=1)
    assert "other content" in refused.stdout
    assert "--replace" in refused.stdout
    assert "1 added" in run("ingest", slide, "-c", collection, "--replace").stdout


def test_rows_and_slides_without_each_other_are_named(
    run: Run, collection: str, drawn: Path, tmp_path: Path
):
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,patient,label\nnobody,p,x\nadipose-p1-s1.tiff,p,fat\n")
    slides = [drawn / "adipose-p1-s1.tiff", drawn / "glands-p1-s1.tiff"]
    result = run("ingest", *slides, "-c", collection, "--labels", labels)
    assert "line 2: no slide 'nobody' among the given paths" in result.stderr
    assert "has no row for 1 of 2 slides (glands-p1-s1)" in result.stderr
    listed = run("slides", "list", collection, "--filter", "label=fat", "--json").stdout
    assert json.loads(listed)["slide_id"] == "adipose-p1-s1"


def test_search_prints_ranks_and_writes_json_geojson_and_a_report(
    run: Run, shared: str, drawn: Path, tmp_path: Path
):
    files = {kind: tmp_path / f"out.{kind}" for kind in ("json", "geojson", "html")}
    options = [part for kind, file in files.items() for part in (f"--{kind}", file)]
    result = run(
        "search", drawn / "glands-p1-s1.tiff", "-c", shared, "-k", "2",
        "--exclude-patient", "glands-p1", *options,
    )  # fmt: skip
    answer = json.loads(files["json"].read_text())
    assert {slide["slide_id"] for slide in answer["slides"]} == {"glands-p2-s1", "glands-p2-s2"}
    assert {slide["label"] for slide in answer["slides"]} == {"glands"}
    assert answer["query"]["patch_count"] == len(answer["patch_hits"]) == 4
    assert all(slide["slide_id"] in result.stdout for slide in answer["slides"])
    features = json.loads(files["geojson"].read_text())["features"]
    assert sum(feature["properties"]["role"] == "query" for feature in features) == 4
    page = files["html"].read_text()
    # The query, two slides, and both sides of their pairs.
    pairs = sum(len(slide["evidence"]) for slide in answer["slides"])
    assert page.count("data:image/jpeg;base64,") == 3 + 2 * pairs
    assert "no picture kept" not in page


def test_a_stored_slide_searches_and_is_left_out(run: Run, shared: str, tmp_path: Path):
    files = [tmp_path / "out.json", tmp_path / "out.html"]
    run(
        "search", "--stored", "adipose-p1-s1", "-c", shared, "-k", "3",
        "--json", files[0], "--html", files[1],
    )  # fmt: skip
    answer = json.loads(files[0].read_text())
    found = [slide["slide_id"] for slide in answer["slides"]]
    assert set(found) == {"adipose-p1-s2", "adipose-p2-s1", "adipose-p2-s2"}
    assert len(answer["query"]["patches"]) == 4
    assert "no picture kept" not in files[1].read_text()


def test_a_region_is_searched_alone_and_one_outside_is_refused(
    run: Run, shared: str, drawn: Path, tmp_path: Path
):
    query = drawn / "glands-p1-s1.tiff"
    run("search", query, "-c", shared, "--region", "0,0,1500,1500", "--json", tmp_path / "r.json")
    answer = json.loads((tmp_path / "r.json").read_text())
    assert answer["query"]["region"] == [0, 0, 1500, 1500]
    assert answer["query"]["patch_count"] < 4
    outside = run("search", query, "-c", shared, "--region", "0,0,99999,5", code=1)
    assert "glands-p1-s1.tiff" in outside.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["search", "gone.svs", "-c", "COLLECTION"], "no such file"),
        (["search", "--stored", "gone", "-c", "COLLECTION"], "gone"),
        (["search", "gone.svs", "-c", "nowhere"], "nowhere"),
        (["search", "--stored", "adipose-p1-s1", "-c", "COLLECTION", "-k", "100000"], "options.k"),
        (["slides", "get", "gone", "-c", "COLLECTION"], "gone"),
        (["slides", "list", "nowhere"], "nowhere"),
        (["slides", "delete-patient", "gone", "-c", "COLLECTION", "--yes"], "no slide"),
        (["collections", "delete", "COLLECTION", "--yes"], "COLLECTION"),
    ],
)
def test_what_the_service_refuses_is_said_in_a_line_and_ends_with_1(
    run: Run, shared: str, arguments: list[str], told: str
):
    result = run(*(part.replace("COLLECTION", shared) for part in arguments), code=1)
    assert told.replace("COLLECTION", shared) in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2


def test_slides_are_shown_labelled_exported_and_deleted(
    run: Run, client: Client, filled: str, tmp_path: Path
):
    label = run("slides", "label", "glands-p1-s1", "new", "-c", filled, "--attribute", "stain=HE")
    assert "label new" in label.stdout
    shown = json.loads(run("slides", "get", "glands-p1-s1", "-c", filled, "--json").stdout)
    assert shown["label"] == "new"
    assert shown["attributes"]["stain"] == "HE"
    assert "block" in shown["attributes"]
    assert "glands-p1-s1" in run("slides", "list", filled, "--filter", "stain=HE").stdout
    run("slides", "export", filled, "--out", tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert len(lines[0]["keys"]) == len(lines[0]["textures"]) == len(lines[0]["xy_px"]) == 4
    run("slides", "delete", "glands-p1-s1", "-c", filled, "--yes")
    gone = run("slides", "delete-patient", "adipose-p1", "-c", filled, "--yes").stdout
    assert gone.count("deleted collections/") == 2
    assert len(list(client.list_slides(filled))) == 5
    refused = CliRunner().invoke(app, ["slides", "delete", "glands-p1-s2", "-c", filled], input="n")
    assert refused.exit_code == 1
    assert len(list(client.list_slides(filled))) == 5


def test_collections_are_created_shown_and_deleted(run: Run, collection: str):
    assert "1280-bit" in run("collections", "create", collection, "--threshold", "99").stdout
    assert "99 of 1280 bits" in run("collections", "list").stdout
    shown = json.loads(run("collections", "get", collection, "--json").stdout)
    assert shown["hamming_threshold_bits"] == 99
    run("collections", "delete", collection, "--yes")
    run("collections", "get", collection, code=1)


def test_status_shows_networks_state_and_collections(run: Run, shared: str):
    shown = run("status").stdout
    assert all(part in shown for part in ("ready", "vqvae", "texture", shared, "abab"))


def test_the_environment_may_name_the_stack_that_up_started(
    service: ServiceProcess, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SLIDEKIN_SERVER", raising=False)
    home = tmp_path / "named"
    home.mkdir()
    (home / "stack.json").write_text(json.dumps({"schema": 1, "server": service.url}))
    monkeypatch.setenv("SLIDEKIN_HOME", str(home))
    result = CliRunner().invoke(app, ["collections", "list"])
    assert shared in result.stdout


def test_a_real_process_searches_into_a_pipe(
    service: ServiceProcess, shared: str, drawn: Path, tmp_path: Path
):
    done = subprocess.run(
        [sys.executable, "-m", "slidekin.cli", "search", drawn / "adipose-p1-s1.tiff",
         "-c", shared, "--server", service.url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "adipose-p1-s1" in done.stdout
    assert "\x1b[" not in done.stdout


def test_an_answer_of_random_networks_says_so(drawn: Path, tmp_path: Path):
    with quick_encoder() as url:
        bundle = write_bundle(tmp_path / "bundle", random_weights=True)
        overrides = {
            "model": {"bundle": str(bundle), "allow_random_weights": True},
            "triton": {"url": url},
        }
        with ServiceProcess(tmp_path / "run", overrides, codes_only=False) as service:
            server = ["--server", service.url]
            slide = str(drawn / "adipose-p1-s1.tiff")
            added = CliRunner().invoke(app, ["ingest", slide, "-c", "a", *server])
            out = tmp_path / "out.json"
            found = CliRunner().invoke(
                app, ["search", slide, "-c", "a", "--json", str(out), *server]
            )
            status = CliRunner().invoke(app, ["status", *server])
    assert "weights are random" in added.stderr
    assert "weights are random" in found.stdout
    assert "weights are random" in status.stdout
    assert json.loads(out.read_text())["random_weights"] is True
