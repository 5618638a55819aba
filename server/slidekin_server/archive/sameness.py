"""Decides whether a slide to be added is already in the collection."""

from __future__ import annotations

from slidekin_server.archive.errors import AlreadyExistsError
from slidekin_server.archive.names import slide_name
from slidekin_server.storage import SlideFacts, SlideRecord


def is_same_slide(held: SlideFacts, stated: SlideFacts) -> bool:
    """Whether both have the same patient, size and resolution, as far as the facts tell."""
    return _lasting(held) == _lasting(stated)


def has_same_details(held: SlideFacts, stated: SlideFacts) -> bool:
    """Whether both agree in the facts that may change without making it another slide."""
    return _passing(held) == _passing(stated)


def slide_exists(held: SlideRecord) -> AlreadyExistsError:
    """Return the error for another slide of the same name."""
    name = slide_name(held.collection, held.facts.slide_id)
    return AlreadyExistsError(
        f"{name} is held with other content; set replace to put this one in its place, or give it "
        "another name",
        reason="SLIDE_ALREADY_EXISTS",
        resource_type="slidekin.v1.Slide",
        names=(name,),
    )


def _lasting(facts: SlideFacts) -> tuple[object, ...]:
    return (facts.patient_id, facts.width_px, facts.height_px, facts.mpp, facts.patch_size_px)


def _passing(facts: SlideFacts) -> tuple[object, ...]:
    return (facts.label, dict(facts.attributes), facts.source_digest)
