"""Pictures as part of a page."""

from __future__ import annotations

import base64

_JPEG_MAGIC = b"\xff\xd8\xff"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def data_uri(picture: bytes | None) -> str | None:
    """The picture as part of the page; None where it is none a browser should be given."""
    if picture is None:
        return None
    if picture.startswith(_JPEG_MAGIC):
        kind = "jpeg"
    elif picture.startswith(_PNG_MAGIC):
        kind = "png"
    else:
        return None
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
