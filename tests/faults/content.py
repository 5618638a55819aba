"""What the clients of a fault test write: a few slides, their versions told apart by numbers.

A collection has a generation: how often it was given another model. The codes of a version are
others in each; its patches lie where they lie.
"""

from __future__ import annotations

from tests.service_calls import random_codes

from slidekin_server.values import PatchCodes

SLIDES = tuple(f"slide-{number:02}" for number in range(24))
"""Few, so that clients get into each other's way."""
_PATIENTS = 6
_GENERATION_SEED = 10**7
"""More versions than any run makes."""


def content(version: int, generation: int = 0) -> PatchCodes:
    """Patches of a version: no two have one in common, in no generation."""
    patches = 1 + version % 40
    made = random_codes(version + generation * _GENERATION_SEED, patches)
    return PatchCodes(made.keys, made.textures, random_codes(version, patches).xy)


def fingerprint(generation: int) -> str:
    """Of the model whose codes a collection holds in a generation."""
    return f"{generation:064x}"


def generation_of(model_fingerprint: str) -> int:
    """The generation in which a collection has that model."""
    return int(model_fingerprint, 16)


def patient(slide: str) -> str:
    """Whose slide it is."""
    return f"patient-{SLIDES.index(slide) % _PATIENTS}"


def slides_of(patient_id: str) -> list[str]:
    """All slides of a patient."""
    return [slide for slide in SLIDES if patient(slide) == patient_id]
