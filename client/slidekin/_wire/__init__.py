"""Between the SDK's values and the messages of ``slidekin.v1``. Pure functions, no transport."""

from __future__ import annotations

from slidekin._wire.collections import to_collection, to_reindex
from slidekin._wire.patches import code_messages, image_patch_message, jpeg_message
from slidekin._wire.search import options_message, to_patch_hits, to_patch_search, to_result
from slidekin._wire.service import to_snapshot, to_status
from slidekin._wire.slides import (
    filter_message,
    slide_message,
    to_added,
    to_export,
    to_slide,
    to_thumbnails,
)

__all__ = [
    "code_messages",
    "filter_message",
    "image_patch_message",
    "jpeg_message",
    "options_message",
    "slide_message",
    "to_added",
    "to_collection",
    "to_export",
    "to_patch_hits",
    "to_patch_search",
    "to_reindex",
    "to_result",
    "to_slide",
    "to_snapshot",
    "to_status",
    "to_thumbnails",
]
