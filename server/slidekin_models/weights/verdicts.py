"""Verdicts on runtimes that were compared with torch in fp32 on tissue, and the limits for them.

Verdicts are in the manifest of their network. They are not part of the fingerprint: an accepted
runtime gives codes that can be compared with the reference's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CodeFigures(_Record):
    """Of a VQ-VAE. Key shifts are in units of C * 10^11, C = 50: the guided walk's spacing."""

    equal_codes: Share
    """Share of equal codes, over all patches."""
    fewest_equal_codes: Share
    """Share of equal codes in the patch that has the fewest."""
    key_shift_median: Amount
    key_shift_p95: Amount
    key_shift_most: Amount


class TextureFigures(_Record):
    """Of a texture network: Hamming distances between a patch's two textures, in bits."""

    bits_median: Amount
    bits_p95: Amount
    bits_most: Amount


FiguresT = TypeVar("FiguresT", CodeFigures, TextureFigures)


class Verdict(_Record, Generic[FiguresT]):
    """One runtime in one precision, judged."""

    runtime: str
    precision: str
    device: str
    """``cpu`` or ``cuda``."""
    accepted: bool
    figures: FiguresT
    patches: int = Field(gt=0)
    """Of 1024 px."""
    tissue: list[str]
    """Slides and folders of tiles from which the patches were drawn."""
    versions: dict[str, str]
    """Of the libraries, and the processor, that gave these figures."""
    weights_sha256: str
    """Of the weights that were judged."""


class Limits(_Record):
    """How far a runtime may deviate from the reference."""

    least_equal_codes: Share
    """On average over the patches."""
    least_equal_codes_of_a_patch: Share
    """Also the canary's limit."""
    most_key_shift: Amount
    """Of any patch. A shift of half the spacing would put a walk's seeds halfway between those of
    the reference; with a smaller shift the walk starts among the same neighbours."""
    most_bits: Share
    """Of the Hamming threshold, for 95 of 100 textures. The distance of two textures of the same
    runtime then rarely changes by more than twice that."""
    most_bits_of_a_patch: Share
    """Of the Hamming threshold."""


LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        # Another order of summing changes at most one code in a thousand, where codewords tie.
        "fp32": Limits(
            least_equal_codes=0.9995,
            least_equal_codes_of_a_patch=1 - 4 / 4096,
            most_key_shift=0.1,
            most_bits=0.02,
            most_bits_of_a_patch=0.05,
        ),
        "bf16": Limits(
            least_equal_codes=0.95,
            least_equal_codes_of_a_patch=0.9,
            most_key_shift=0.5,
            most_bits=0.05,
            most_bits_of_a_patch=0.1,
        ),
    }
)
"""By precision; fp16 is more precise than bf16 and has the same limits."""


def limits_of(precision: str) -> Limits:
    """Return the limits of a precision."""
    return LIMITS["fp32" if precision == "fp32" else "bf16"]


def faults_of_codes(figures: CodeFigures, precision: str) -> list[str]:
    """Return why the figures of a VQ-VAE are refused; empty if they are accepted."""
    limits = limits_of(precision)
    found = (
        ("equal codes", figures.equal_codes, limits.least_equal_codes),
        ("equal codes of a patch", figures.fewest_equal_codes, limits.least_equal_codes_of_a_patch),
    )
    faults = [
        f"{what}: {value:.2%}, at least {least:.2%} wanted"
        for what, value, least in found
        if value < least
    ]
    if figures.key_shift_most > limits.most_key_shift:
        faults.append(
            f"a key moved by {figures.key_shift_most:.2g} of the walk's spacing, at most "
            f"{limits.most_key_shift:g} allowed"
        )
    return faults


def faults_of_textures(figures: TextureFigures, precision: str, threshold_bits: int) -> list[str]:
    """Return why the figures of a texture network are refused; empty if they are accepted."""
    limits = limits_of(precision)
    found = (
        ("bits of 95 of 100 textures", figures.bits_p95, limits.most_bits),
        ("bits of a texture", figures.bits_most, limits.most_bits_of_a_patch),
    )
    return [
        f"{what} that differ: {value:.0f}, at most {share * threshold_bits:.0f} allowed "
        f"({share:.0%} of the threshold, {threshold_bits})"
        for what, value, share in found
        if value > share * threshold_bits
    ]


def is_accepted(
    verdicts: Sequence[Verdict[Any]], wanted: tuple[str, str, str], weights_sha256: str
) -> bool:
    """Whether a runtime was accepted for exactly these weights.

    Args:
        verdicts: From the network's manifest.
        wanted: Runtime, precision, and ``cpu`` or ``cuda``.
        weights_sha256: Of the network's weights.
    """
    return any(
        verdict.accepted
        and (verdict.runtime, verdict.precision, verdict.device) == wanted
        and verdict.weights_sha256 == weights_sha256
        for verdict in verdicts
    )


def rejudged(
    verdicts: Sequence[Verdict[TextureFigures]], threshold_bits: int
) -> list[Verdict[TextureFigures]]:
    """Return new verdicts from the same measurements, for a texture network's new threshold."""
    return [
        verdict.model_copy(
            update={
                "accepted": not faults_of_textures(
                    verdict.figures, verdict.precision, threshold_bits
                )
            }
        )
        for verdict in verdicts
    ]
