"""Every call of the contract as a value: where it goes, what it asks, how to read the answer.

Both clients make them; neither knows more of a call than this.
"""

from __future__ import annotations

from slidekin._calls.call import PAGE_SIZE, Call, Page, Service
from slidekin._calls.collections import (
    create_collection,
    delete_collection,
    get_collection,
    list_collections,
    update_collection,
)
from slidekin._calls.reindexes import (
    cancel_reindex,
    finish_reindex,
    get_reindex,
    list_pending_slides,
    start_reindex,
)
from slidekin._calls.search import search_patches, search_stored_slide, with_k
from slidekin._calls.service import check_snapshot, create_snapshot, get_status, list_snapshots
from slidekin._calls.slides import (
    batch_get_slides,
    delete_patient,
    delete_slide,
    get_slide,
    get_thumbnails,
    held_already,
    list_slides,
    update_slide,
)
from slidekin._calls.streams import SearchReader, add_messages, export_request, search_messages

__all__ = [
    "PAGE_SIZE",
    "Call",
    "Page",
    "SearchReader",
    "Service",
    "add_messages",
    "batch_get_slides",
    "cancel_reindex",
    "check_snapshot",
    "create_collection",
    "create_snapshot",
    "delete_collection",
    "delete_patient",
    "delete_slide",
    "export_request",
    "finish_reindex",
    "get_collection",
    "get_reindex",
    "get_slide",
    "get_status",
    "get_thumbnails",
    "held_already",
    "list_collections",
    "list_pending_slides",
    "list_slides",
    "list_snapshots",
    "search_messages",
    "search_patches",
    "search_stored_slide",
    "start_reindex",
    "update_collection",
    "update_slide",
    "with_k",
]
