"""What is put under load: a service that holds a cohort, alone or with Triton behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tests.bench.cohort import TEXTURE_BITS, Cohort
from tests.bench.encode_patches import read_patches
from tests.load.widths import widened
from tests.paths import PROJECT
from tests.service_process import ServiceProcess
from tests.triton_stack import TritonState, running_triton

from slidekin_models.bundles.bundle import build_bundle
from slidekin_server.access.key_file import KeyFile
from slidekin_server.access.roles import ALL_COLLECTIONS, Grant, Role
from slidekin_server.bundle import load_bundle
from slidekin_server.storage import CollectionRecord, SlideFacts, SqliteStore

COLLECTION = "load"
_CODES_FINGERPRINT = "f" * 64
_THRESHOLD_SHARE = 1 / 8
"""Of a texture's bits, that two alike may differ in."""
_MODELS = PROJECT / "deploy" / "demo" / "models.yaml"
_DISTINCT_IMAGES = 4


@dataclass(frozen=True)
class Stack:
    """A running service and what it holds."""

    service: ServiceProcess
    fingerprint: str
    """Of its collection."""
    patches: int
    texture_bits: int
    api_keys: Mapping[str, str] = field(default_factory=dict)
    """Of the sites that may ask it; none where it asks nobody who they are."""
    images: str = ""
    """Folder of JPEG files that Triton can be asked for; empty: there is no Triton."""
    image_source: str = ""
    """Where the images come from."""
    triton: TritonState | None = None

    @property
    def process(self) -> psutil.Process:
        """The service's process."""
        assert self.service.process is not None, "the service runs"
        return psutil.Process(self.service.process.pid)


@contextlib.contextmanager
def codes_stack(folder: Path, patches: int, sites: Sequence[str] = ()) -> Iterator[Stack]:
    """Run a service without encoders on a cohort of so many patches.

    Args:
        folder: Where its store is.
        patches: Patches that it holds.
        sites: Who gets an API key; where there are none, nobody needs one.
    """
    fill_store(folder / "store", patches, _CODES_FINGERPRINT, TEXTURE_BITS)
    api_keys = _issue_keys(folder, sites)
    with ServiceProcess(folder, _access(api_keys)) as service:
        yield Stack(service, _CODES_FINGERPRINT, patches, TEXTURE_BITS, api_keys)


@contextlib.contextmanager
def images_stack(folder: Path, patches: int, sites: Sequence[str] = ()) -> Iterator[Stack]:
    """Run Triton as its launcher starts it by itself, and a service before it; as `codes_stack`."""
    bundle = folder / "bundle"
    build_bundle(_MODELS, bundle)
    model = load_bundle(bundle, allow_random_weights=True)
    fill_store(folder / "store", patches, model.fingerprint, model.texture_bits)
    images = folder / "images"
    images.mkdir()
    read = read_patches(_DISTINCT_IMAGES)
    for number, file in enumerate(read.files["jpeg"]):
        (images / f"{number:02}.jpg").write_bytes(file)
    api_keys = _issue_keys(folder, sites)
    automatic = ("--runtime=auto", "--precision=auto")
    with running_triton(bundle, folder / "triton", *automatic) as triton:
        settings = {
            **_access(api_keys),
            "model": {"bundle": str(bundle), "allow_random_weights": True},
            "triton": {"url": triton.grpc_url},
        }
        with ServiceProcess(folder, settings, codes_only=False) as service:
            yield Stack(
                service,
                model.fingerprint,
                patches,
                model.texture_bits,
                api_keys,
                str(images),
                read.source,
                triton,
            )


def _issue_keys(folder: Path, sites: Sequence[str]) -> dict[str, str]:
    keys = KeyFile(folder / "store-access")
    grants = [Grant(Role.WRITER, ALL_COLLECTIONS)]
    return {site: keys.create(site, grants)[1] for site in sites}


def _access(api_keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return {"access": {"required": True}} if api_keys else {}


def fill_store(store_folder: Path, patches: int, fingerprint: str, texture_bits: int) -> None:
    """Write a cohort to a new store."""
    cohort = Cohort(patches)
    with SqliteStore.open(store_folder, synchronous="normal") as store:
        threshold_bits = round(_THRESHOLD_SHARE * texture_bits)
        store.create_collection(
            CollectionRecord(COLLECTION, fingerprint, texture_bits, threshold_bits)
        )
        for number, codes in cohort.slides():
            facts = SlideFacts(
                f"slide-{number}", patient_id=f"patient-{number // 2}", label=cohort.label(number)
            )
            store.add_slide(COLLECTION, facts, widened(codes, texture_bits))
