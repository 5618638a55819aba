from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.unit.client.recorder import METHODS, Recorder, serving

from slidekin import AsyncClient, Client, Codes, ImagePatch, Slide

CODES = Codes(
    keys=np.array([5], np.int64),
    textures=np.zeros((1, 128), np.uint8),
    xy=np.zeros((1, 2), np.int32),
)
SLIDE = Slide("collections/a/slides/s")

CALLS: dict[str, Callable[[Any], Any]] = {
    "status": lambda c: c.status(),
    "create_snapshot": lambda c: c.create_snapshot(),
    "list_snapshots": lambda c: c.list_snapshots(),
    "check_snapshot": lambda c: c.check_snapshot("s"),
    "create_collection": lambda c: c.create_collection("a"),
    "get_collection": lambda c: c.get_collection("a"),
    "list_collections": lambda c: c.list_collections(),
    "update_collection": lambda c: c.update_collection("a", description="d"),
    "delete_collection": lambda c: c.delete_collection("a"),
    "start_reindex": lambda c: c.start_reindex("a", model_fingerprint="f"),
    "get_reindex": lambda c: c.get_reindex("a"),
    "list_pending_slides": lambda c: c.list_pending_slides("a"),
    "reindex_slide_codes": lambda c: c.reindex_slide_codes(
        "s", CODES, collection="a", model_fingerprint="f"
    ),
    "finish_reindex": lambda c: c.finish_reindex("a", model_fingerprint="f"),
    "cancel_reindex": lambda c: c.cancel_reindex("a"),
    "add_slide_codes": lambda c: c.add_slide_codes(SLIDE, CODES),
    "add_slide_images": lambda c: c.add_slide_images(SLIDE, [ImagePatch(0, 0, b"")]),
    "get_slide": lambda c: c.get_slide("s", collection="a"),
    "batch_get_slides": lambda c: c.batch_get_slides(["s"], collection="a"),
    "list_slides": lambda c: c.list_slides("a"),
    "update_slide": lambda c: c.update_slide("s", collection="a", label="x"),
    "delete_slide": lambda c: c.delete_slide("s", collection="a"),
    "delete_patient": lambda c: c.delete_patient("p", collection="-"),
    "export_slides": lambda c: c.export_slides("a"),
    "get_thumbnails": lambda c: c.get_thumbnails("s", collection="a"),
    "search_codes": lambda c: c.search_codes(CODES, collection="a"),
    "search_images": lambda c: c.search_images([ImagePatch(0, 0, b"")], collection="a"),
    "stream_search": lambda c: c.stream_search(CODES, collection="a"),
    "search_stored_slide": lambda c: c.search_stored_slide("s", collection="a"),
    "search_patches": lambda c: c.search_patches(CODES, collection="a"),
}
FROM_DISK = {"add_slide", "reindex_slide", "search_slide"}
"""Methods that read a slide; they go the ways of the others, and have tests of their own."""


def _public(client: type) -> set[str]:
    methods = inspect.getmembers(client, inspect.isfunction)
    return {name for name, _ in methods if not name.startswith("_")}


def test_the_calls_below_are_all_methods_of_the_client():
    assert set(CALLS) | FROM_DISK | {"close"} == _public(Client)


def test_every_rpc_of_the_contract_is_reached():
    recorder = Recorder()
    with serving(recorder) as target, Client(target) as client:
        for call in CALLS.values():
            answer = call(client)
            if hasattr(answer, "__next__"):
                list(answer)
    assert set(recorder.calls) == set(METHODS)


@pytest.mark.asyncio
async def test_every_rpc_of_the_contract_is_reached_by_the_asynchronous_client():
    recorder = Recorder()
    with serving(recorder) as target:
        async with AsyncClient(target) as client:
            for call in CALLS.values():
                answer = call(client)
                if hasattr(answer, "__anext__"):
                    _ = [item async for item in answer]
                else:
                    await answer
    assert set(recorder.calls) == set(METHODS)
