"""A release drawn here, through the command, into a real service."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.published_release import (
    FINGERPRINT,
    ORDER,
    PublishedRelease,
    drawn_patches,
    import_arguments,
    published_bundle,
)
from tests.service_calls import Calls
from tests.service_process import ServiceProcess
from tests.unit.server.made_bundles import bundle_content
from typer.testing import CliRunner, Result

from slidekin.v1 import slides_pb2
from slidekin_server.cli._app import app

SLIDES = ("first", "second", "third")
KEYS = drawn_patches(6, seed=9).keys
"""Shared by all slides, so that their order decides."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path_factory.mktemp("service")).start() as service:
        yield service


@pytest.fixture
def release(tmp_path: Path) -> PublishedRelease:
    release = PublishedRelease(tmp_path / "release")
    for number, slide in enumerate(SLIDES):
        release.add(slide, drawn_patches(6, seed=number, keys=KEYS), diagnosis=f"d{number % 2}")
    release.write_meta()
    return release


@pytest.fixture
def calls(service: ServiceProcess, request: pytest.FixtureRequest) -> Iterator[Calls]:
    with service.channel() as channel:
        yield Calls(channel, collection=request.node.name[:100].replace("[", "-").strip("]"))


def run(release: PublishedRelease, bundle: Path, calls: Calls, url: str, *options: str) -> Result:
    arguments = import_arguments(release, bundle, url, calls.collection, *options)
    return CliRunner().invoke(app, arguments)


def test_slides_arrive_in_the_published_order_with_their_facts(release, bundle, calls, service):
    done = run(
        release,
        bundle,
        calls,
        service.url,
        *("--label-field", "diagnosis", "--patient-pattern", "^(.)"),
    )
    assert done.exit_code == 0, done.stderr
    assert "3 slides added, 0 were there, 0 refused" in done.stdout
    assert FINGERPRINT in done.stdout
    assert calls.held() == list(SLIDES)
    collection = calls.get()
    assert (collection.model_fingerprint, collection.texture_bits) == (FINGERPRINT, 1024)
    assert (collection.hamming_threshold_bits, collection.patch_count) == (128, 18)
    slides = calls.slides.ListSlides(slides_pb2.ListSlidesRequest(parent=calls.parent)).slides
    assert [slide.label for slide in slides] == ["d0", "d1", "d0"]
    assert [slide.patient_id for slide in slides] == ["f", "s", "t"]


def test_again_changes_nothing_and_reads_no_codes(release, bundle, calls, service, tmp_path):
    assert run(release, bundle, calls, service.url).exit_code == 0
    version = calls.get().index_version
    done = run(release, bundle, calls, service.url)
    assert "0 slides added, 3 were there" in done.stdout
    assert done.exit_code == 0
    labelled = run(release, bundle, calls, service.url, "--label-field", "diagnosis")
    assert "held under another label, which stays: first: '', not 'd0'" in labelled.stderr
    assert labelled.exit_code == 0
    assert calls.get().index_version == version


def test_one_bad_slide_is_named_and_the_others_arrive(release, bundle, calls, service, tmp_path):
    class Calling:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    good = release.textures_file("second").read_bytes()
    release.textures_file("second").write_bytes(pickle.dumps([Calling()]))
    done = run(release, bundle, calls, service.url)
    assert done.exit_code == 1
    assert "2 slides added, 0 were there, 1 refused" in done.stdout
    assert "second.pkl is refused: it holds the instruction" in done.stderr
    assert not (tmp_path / "made").exists()
    assert calls.held() == ["first", "third"]

    release.textures_file("second").write_bytes(good)
    release.codes_file("third").unlink()
    done = run(release, bundle, calls, service.url)
    assert "1 slides added, 1 were there, 1 refused" in done.stdout
    assert "third: meta.pkl names it and LATENT has no third.h5" in done.stderr
    assert calls.held() == ["first", "third", "second"]


def test_a_slide_that_is_held_with_other_content_is_refused_and_stays(
    release, bundle, calls, service
):
    assert run(release, bundle, calls, service.url).exit_code == 0
    with h5py.File(release.codes_file("first"), "a") as file:
        file["coords"][0] = (1, 2)
    release.index[int(KEYS[0])][0].update(x=1, y=2)
    release.write_meta()
    done = run(release, bundle, calls, service.url)
    assert done.exit_code == 1
    assert "0 slides added, 2 were there, 1 refused" in done.stdout
    assert "holds a slide of that name with other patches" in done.stderr


def test_files_that_differ_from_the_index_are_refused(release, bundle, calls, service):
    with h5py.File(release.codes_file("first"), "a") as file:
        file["coords"][0] = (1, 2)
    with h5py.File(release.codes_file("second"), "a") as file:
        file["features"][0, :8, :8] = 127 - file["features"][0, :8, :8]
    done = run(release, bundle, calls, service.url)
    assert "1 slides added" in done.stdout
    assert "first: the coordinates of 1 patches differ" in done.stderr
    assert "second: 1 keys of meta.pkl do not follow from its codes" in done.stderr


def test_a_bundle_of_another_order_or_network_is_refused(release, calls, service, tmp_path):
    other_order = published_bundle(tmp_path / "a", semantic_order=np.argsort(ORDER).tolist())
    done = run(release, other_order, calls, service.url)
    assert done.exit_code == 1
    assert "0 slides added, 0 were there, 3 refused" in done.stdout
    assert "name the bundle of the model that made them" in done.stderr
    other_network = published_bundle(tmp_path / "b", networks=bundle_content()["networks"])
    done = run(release, other_network, calls, service.url)
    assert done.exit_code == 1
    assert "the release was made with DenseNet-121" in done.stderr


def test_a_collection_of_another_model_is_refused(release, bundle, calls, service):
    calls.create(texture_bits=1024)
    done = run(release, bundle, calls, service.url)
    assert done.exit_code == 1
    assert "is bound to the model ffffffffffff" in done.stderr
    assert isinstance(done.exception, SystemExit)


def test_a_service_that_is_not_there_is_said_to_be_so(release, bundle, calls):
    done = run(release, bundle, calls, "127.0.0.1:1", "--timeout", "5")
    assert done.exit_code == 1
    assert "127.0.0.1:1: " in done.stderr
    assert "the same command goes on from there" in done.stderr


def test_a_hostile_index_is_refused_before_the_service_is_asked(release, bundle, calls, tmp_path):
    class Calling:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    release.index[5] = [Calling()]
    release.write_meta()
    done = run(release, bundle, calls, "127.0.0.1:1")
    assert done.exit_code == 1
    assert "meta.pkl is refused: it holds the instruction" in done.stderr
    assert isinstance(done.exception, SystemExit)
    assert not (tmp_path / "made").exists()
