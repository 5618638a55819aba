"""Resource names from what people write."""

from __future__ import annotations


def collection_name(collection: str) -> str:
    """``breast`` or ``collections/breast`` -> ``collections/breast``.

    Raises:
        ValueError: It is neither.
    """
    name = collection if collection.startswith("collections/") else f"collections/{collection}"
    if name.count("/") != 1 or name.endswith("/"):
        raise ValueError(f"{collection!r} names no collection: give its id, for example 'breast'")
    return name


def slide_name(slide: str, collection: str | None) -> str:
    """A slide's resource name from its full name, or from its id and its collection.

    Raises:
        ValueError: An id without a collection, or not an id.
    """
    if slide.startswith("collections/"):
        if slide.count("/") != 3 or "/slides/" not in slide or slide.endswith("/"):
            raise ValueError(
                f"{slide!r} names no slide: a full name is collections/COLLECTION/slides/SLIDE"
            )
        return slide
    if collection is None:
        raise ValueError(f"say which collection slide {slide!r} is in, or give its full name")
    if not slide or "/" in slide:
        raise ValueError(f"{slide!r} is no slide id: it must not be empty or contain '/'")
    return f"{collection_name(collection)}/slides/{slide}"


def snapshot_name(snapshot: str) -> str:
    """``20260101T...`` or ``snapshots/20260101T...`` -> ``snapshots/20260101T...``.

    Raises:
        ValueError: It is neither.
    """
    name = snapshot if snapshot.startswith("snapshots/") else f"snapshots/{snapshot}"
    if name.count("/") != 1 or name.endswith("/"):
        raise ValueError(f"{snapshot!r} names no snapshot: list them to see what is there")
    return name
