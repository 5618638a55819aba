"""The options of a search, and the profiles that fill in what a request leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from slidekin_server.index import GuidedParameters
from slidekin_server.ranking import RankingMethod
from slidekin_server.values import SearchMode


@dataclass(frozen=True, slots=True)
class Profile:
    """The values that a search uses if its request states none."""

    mode: SearchMode
    guided: GuidedParameters
    """Its Hamming threshold is not used: the threshold belongs to the collection."""
    ranking: RankingMethod
    fall_back: bool
    """Fill up a short list with the label-free ranking."""
    exact_encoding: bool = False
    """Refuse to encode images in less than fp32."""


SISH_2022 = Profile(
    mode=SearchMode.GUIDED,
    guided=GuidedParameters(include_seed_key=False),
    ranking=RankingMethod.UNCERTAINTY,
    fall_back=False,
    exact_encoding=True,
)
"""The published program to the last bit: strict walks, short lists are not filled up."""

DEFAULT = Profile(
    mode=SearchMode.HYBRID,
    guided=GuidedParameters(include_seed_key=True),
    ranking=RankingMethod.AUTO,
    fall_back=True,
)
"""Short lists are filled up, and a patch equal to the query is found."""

DEFAULT_PROFILE = "default"


def profiles(default: Profile = DEFAULT) -> Mapping[str, Profile]:
    """Return the profiles by name; the operator may have changed the default one."""
    return MappingProxyType({DEFAULT_PROFILE: default, "sish-2022": SISH_2022})


@dataclass(frozen=True, slots=True)
class AttributeCondition:
    """A slide's attribute must have one of ``values``, or any value if there are none."""

    attribute: str
    values: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SlideFilter:
    """Which slides of a collection are admitted: those that meet every given condition."""

    labels: frozenset[str] = frozenset()
    """Any of these; empty: all."""
    attributes: tuple[AttributeCondition, ...] = ()
    slide_ids: frozenset[str] | None = None
    """Any of these; None: all."""
    exclude_patient_ids: frozenset[str] = frozenset()
    exclude_slide_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """A search's options, complete except for the collection's own threshold."""

    k: int
    mode: SearchMode
    guided: GuidedParameters
    """Its Hamming threshold is replaced by ``hamming_threshold_bits`` or the collection's."""
    ranking: RankingMethod
    fall_back: bool
    exact_profile: str = ""
    """Name of the profile if it refuses to encode images in less than fp32; else empty."""
    hamming_threshold_bits: int | None = None
    """None: the collection's."""
    label_weight_sum: float = 10.0
    max_hits_per_patch: int = 10
    max_evidence_per_slide: int = 3
    include_ranking_details: bool = False
    filter: SlideFilter = field(default_factory=SlideFilter)
