"""A request's search options and filters, checked and completed from its profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from slidekin.v1 import common_pb2, search_pb2
from slidekin_server.api.validation import MAX_FILTER_VALUES, Checker, checking
from slidekin_server.archive.names import parse_slide_name
from slidekin_server.archive.options import (
    DEFAULT_PROFILE,
    AttributeCondition,
    Profile,
    QueryOptions,
    SlideFilter,
)
from slidekin_server.config import Limits
from slidekin_server.index import GuidedParameters, ParameterError
from slidekin_server.ranking import RankingMethod
from slidekin_server.values import SearchMode

_MODES = {
    common_pb2.SEARCH_MODE_GUIDED: SearchMode.GUIDED,
    common_pb2.SEARCH_MODE_EXACT: SearchMode.EXACT,
    common_pb2.SEARCH_MODE_HYBRID: SearchMode.HYBRID,
}
_RANKINGS = {
    search_pb2.RANKING_METHOD_UNCERTAINTY: RankingMethod.UNCERTAINTY,
    search_pb2.RANKING_METHOD_LABEL_FREE: RankingMethod.LABEL_FREE,
}
_FALLBACKS = {
    search_pb2.RANKING_FALLBACK_NONE: False,
    search_pb2.RANKING_FALLBACK_LABEL_FREE: True,
}
_GUIDED_FIELDS = {
    "seed_spacing": "C",
    "seeds_per_side": "T",
    "successor_steps": "successor_steps",
    "predecessor_steps": "predecessor_steps",
    "include_seed_key": "include_seed_key",
}
# Bound the work of one patch: a thousand times the published parameters' is never meant.
_GUIDED_MOST = {
    "seed_spacing": 1_000_000,
    "seeds_per_side": 1_000,
    "successor_steps": 1_000_000,
    "predecessor_steps": 1_000_000,
}
_MAX_WEIGHT_SUM = 1e6
_MAX_EVIDENCE = 1000
_MAX_PAIRS = 100_000
"""Of evidence in one answer. They are collected before they are written: this bounds the memory."""
_DEFAULT_K = 5
_DEFAULT_HITS = 10
_DEFAULT_EVIDENCE = 3
_DEFAULT_WEIGHT_SUM = 10.0


class OptionsReader:
    """Reads search options.

    Args:
        profiles: The profiles by name.
        limits: What is accepted at most.
    """

    def __init__(self, profiles: Mapping[str, Profile], limits: Limits) -> None:
        self._profiles = profiles
        self._limits = limits

    def read(
        self, message: search_pb2.SearchOptions, *, collection_id: str, texture_bits: int
    ) -> QueryOptions:
        """Return what a search is to do.

        Args:
            message: The options as received.
            collection_id: The collection that is searched: slides of a filter must be its own.
            texture_bits: Its textures' width.

        Raises:
            InvalidRequestError: With every fault found.
        """
        limits = self._limits
        with checking() as check:
            profile = self._profile(check, message.profile)

            def optional(field: str, default: Any, least: float, most: float) -> Any:  # noqa: ANN401
                if not message.HasField(field):  # type: ignore[arg-type]
                    return default
                value = getattr(message, field)
                check.in_range(f"options.{field}", value, least, most)
                return value

            k = optional("k", min(_DEFAULT_K, limits.max_k), 1, limits.max_k)
            evidence = optional("max_evidence_per_slide", _DEFAULT_EVIDENCE, 0, _MAX_EVIDENCE)
            if k * evidence > _MAX_PAIRS:
                check.fault(
                    "options.max_evidence_per_slide",
                    f"{evidence} for each of k = {k} slides are {k * evidence} pairs; at most "
                    f"{_MAX_PAIRS}: ask for fewer slides or less evidence",
                )
            return QueryOptions(
                k=k,
                mode=_enum(check, "options.mode", message.mode, _MODES, profile.mode),
                guided=_guided(check, message.guided, profile.guided),
                ranking=_enum(
                    check, "options.ranking", message.ranking, _RANKINGS, profile.ranking
                ),
                fall_back=_enum(
                    check, "options.fallback", message.fallback, _FALLBACKS, profile.fall_back
                ),
                exact_profile=message.profile if profile.exact_encoding else "",
                hamming_threshold_bits=optional("hamming_threshold_bits", None, 0, texture_bits),
                label_weight_sum=optional(
                    "label_weight_sum", _DEFAULT_WEIGHT_SUM, 1e-6, _MAX_WEIGHT_SUM
                ),
                max_hits_per_patch=optional(
                    "max_hits_per_patch",
                    min(_DEFAULT_HITS, limits.max_hits_per_patch),
                    0,
                    limits.max_hits_per_patch,
                ),
                max_evidence_per_slide=evidence,
                include_ranking_details=message.include_ranking_details,
                filter=_filter(check, "options.filter", message.filter, collection_id),
            )

    def exact_profile(self, field: str, name: str) -> str:
        """The profile, where it wants images encoded in fp32 or not at all; else empty.

        Raises:
            InvalidRequestError: There is no profile of that name.
        """
        with checking() as check:
            return name if self._profile(check, name, field).exact_encoding else ""

    def _profile(self, check: Checker, name: str, field: str = "options.profile") -> Profile:
        profile = self._profiles.get(name or DEFAULT_PROFILE)
        if profile is None:
            known = " and ".join(sorted(self._profiles))
            check.fault(field, f"{name!r} is unknown; there are {known}")
            return self._profiles[DEFAULT_PROFILE]
        return profile


def read_filter(message: common_pb2.SlideFilter, *, collection_id: str) -> SlideFilter:
    """Return the filter of a listing.

    Raises:
        InvalidRequestError: With every fault found.
    """
    with checking() as check:
        return _filter(check, "filter", message, collection_id)


def _enum(
    check: Checker,
    field: str,
    value: int,
    meanings: Mapping[Any, Any],
    default: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    if value == 0:
        return default
    if value not in meanings:
        check.fault(field, f"{value} is not a value of this enumeration")
        return default
    return meanings[value]


def _guided(
    check: Checker, message: search_pb2.GuidedParameters, default: GuidedParameters
) -> GuidedParameters:
    stated: dict[str, Any] = {}
    for field, parameter in _GUIDED_FIELDS.items():
        if message.HasField(field):  # type: ignore[arg-type]
            stated[parameter] = getattr(message, field)
            most = _GUIDED_MOST.get(field)
            if most is not None:
                least = 1 if parameter in {"C", "T"} else 0
                check.in_range(f"options.guided.{field}", stated[parameter], least, most)
    try:
        return replace(default, **stated)
    except ParameterError as error:
        names = {parameter: field for field, parameter in _GUIDED_FIELDS.items()}
        check.fault(f"options.guided.{names.get(error.field, error.field)}", error.reason)
        return default


def _filter(
    check: Checker, field: str, message: common_pb2.SlideFilter, collection_id: str
) -> SlideFilter:
    lists: tuple[tuple[str, int], ...] = (
        ("labels", len(message.labels)),
        ("attributes", len(message.attributes)),
        ("slides", len(message.slides)),
        ("exclude_patient_ids", len(message.exclude_patient_ids)),
        ("exclude_slides", len(message.exclude_slides)),
    )
    for name, count in lists:
        if count > MAX_FILTER_VALUES:
            check.fault(f"{field}.{name}", f"has {count} entries; at most {MAX_FILTER_VALUES}")
    for number, condition in enumerate(message.attributes):
        check.text(f"{field}.attributes[{number}].attribute", condition.attribute, required=True)
    for name, values in (
        ("labels", message.labels),
        ("exclude_patient_ids", message.exclude_patient_ids),
    ):
        for number, value in enumerate(values):
            check.text(f"{field}.{name}[{number}]", value, required=True)

    def ids(name: str, names: Iterable[str]) -> frozenset[str]:
        found = set()
        for number, slide in enumerate(names):
            try:
                parent, slide_id = parse_slide_name(slide)
            except ValueError as error:
                check.fault(f"{field}.{name}[{number}]", str(error))
                continue
            if parent != collection_id:
                check.fault(f"{field}.{name}[{number}]", f"{slide!r} is of another collection")
            found.add(slide_id)
        return frozenset(found)

    return SlideFilter(
        labels=frozenset(message.labels),
        attributes=tuple(
            AttributeCondition(condition.attribute, frozenset(condition.values))
            for condition in message.attributes
        ),
        slide_ids=ids("slides", message.slides) if message.slides else None,
        exclude_patient_ids=frozenset(message.exclude_patient_ids),
        exclude_slide_ids=ids("exclude_slides", message.exclude_slides),
    )
