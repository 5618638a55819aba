"""What the clients of a fault test write: a few slides, their versions told apart by numbers."""

from __future__ import annotations

from tests.service_calls import random_codes

from slidekin_server.values import PatchCodes

SLIDES = tuple(f"slide-{number:02}" for number in range(24))
"""Few, so that clients get into each other's way."""
_PATIENTS = 6


def content(version: int) -> PatchCodes:
    """Patches of a version: no two versions have one in common."""
    return random_codes(version, 1 + version % 40)


def patient(slide: str) -> str:
    """Whose slide it is."""
    return f"patient-{SLIDES.index(slide) % _PATIENTS}"


def slides_of(patient_id: str) -> list[str]:
    """All slides of a patient."""
    return [slide for slide in SLIDES if patient(slide) == patient_id]
