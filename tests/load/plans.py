"""What `make load` measures, at full length and in the short version of the tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.lines import say
from tests.load.measure import OVERLOAD, Effort, Fairness, Workload, beside_a_flood, curve
from tests.load.requests import Site
from tests.load.sites import Load, SiteProcess
from tests.load.stack import COLLECTION, Stack, codes_stack, images_stack

SEARCH_PATIENCE_S = 2.0
"""Somebody looks at a screen."""
INGEST_PATIENCE_S = 10.0
"""Nobody does."""
IMAGE_PATIENCE_S = 8.0
"""Without a GPU a patch takes a third of a second, and a handful wait."""
IMAGE_INGEST_PATIENCE_S = 20.0

QUIET, FLOOD = _SITES = "quiet", "flood"
BESIDE_SEARCHES = "searches beside a flood of searches"
BESIDE_INGEST = "searches beside a flood of ingest"
BESIDE_IMAGES = "searches by images beside a flood of ingest by images"
FLOODS = (BESIDE_SEARCHES, BESIDE_INGEST, BESIDE_IMAGES)
_QUIET_SHARE = 0.2
"""Of the saturating rate, that the quiet site asks for."""
_QUIET_IMAGES = 0.4
"""At least so many calls a second by images, or chance leaves none within the window."""
_FLOOD_FACTOR = 2.0
"""Times the saturating rate, that the flooding site asks for."""
_INGEST_FLOOD_FACTOR = 6.0
"""Times the saturating rate of searches, as slides by codes: adding one is less work."""
_IMAGES_A_SLIDE = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """Lengths of everything."""

    patches: int
    """Patches that the service holds."""
    codes: Effort
    images: Effort
    fairness_s: float
    """What counts of each load of the quiet site by codes."""
    image_fairness_s: float


FULL = Plan(
    patches=300_000,
    codes=Effort(settle_s=2.0, step_s=5.0, sustained_s=10.0),
    images=Effort(
        settle_s=8.0, step_s=12.0, sustained_s=40.0, halvings=1, factors=(1.0, 1.5, OVERLOAD)
    ),
    fairness_s=10.0,
    image_fairness_s=24.0,
)
SHORT = Plan(
    patches=6_000,
    codes=Effort(settle_s=0.5, step_s=0.7, sustained_s=1.0, halvings=0, factors=(1.0, OVERLOAD)),
    images=Effort(settle_s=0.5, step_s=1.0, sustained_s=1.0, halvings=0, factors=(1.0, OVERLOAD)),
    fairness_s=2.0,
    image_fairness_s=2.0,
)

CODES = Workload("searches by codes", {"search": 1.0}, {"search": SEARCH_PATIENCE_S}, start=15)
MIXED = Workload(
    "searches by codes, one call in five adds a slide",
    {"search": 0.8, "add": 0.2},
    {"search": SEARCH_PATIENCE_S, "add": INGEST_PATIENCE_S},
    start=15,
)
IMAGES = Workload(
    "searches by images", {"search image": 1.0}, {"search image": IMAGE_PATIENCE_S}, start=1.5
)


def by_codes(folder: Path, plan: Plan) -> None:
    """Measure a service that is asked by codes."""
    with (
        codes_stack(folder, plan.patches, (QUIET, FLOOD)) as stack,
        _sites(stack) as (quiet, flood),
    ):
        say("held", stack.patches, "patches", patches=stack.patches)
        effort = plan.codes
        saturating = curve(quiet, stack, CODES, effort)
        curve(quiet, stack, MIXED, effort)
        for name, kind, rate, patience_s in (
            (BESIDE_SEARCHES, "search",
             _FLOOD_FACTOR * saturating, SEARCH_PATIENCE_S),
            (BESIDE_INGEST, "add",
             _INGEST_FLOOD_FACTOR * saturating, INGEST_PATIENCE_S),
        ):  # fmt: skip
            seconds = effort.settle_s + plan.fairness_s
            lone = {"search": _QUIET_SHARE * saturating}
            fairness = Fairness(
                name,
                Load(lone, CODES.patience_s, seconds, effort.settle_s, seed=1001),
                Load({kind: rate}, {kind: patience_s}, seconds, effort.settle_s, seed=1002),
            )
            beside_a_flood(quiet, flood, stack, fairness)


def by_images(folder: Path, plan: Plan) -> None:
    """Measure a service that has Triton encode images."""
    with (
        images_stack(folder, plan.patches, (QUIET, FLOOD)) as stack,
        _sites(stack) as (quiet, flood),
    ):
        say("held", stack.patches, "patches", patches=stack.patches, source=stack.image_source)
        effort = plan.images
        saturating = curve(quiet, stack, IMAGES, effort)
        seconds = effort.settle_s + plan.image_fairness_s
        flood_rate = _FLOOD_FACTOR * saturating / _IMAGES_A_SLIDE
        lone = {"search image": max(_QUIET_SHARE * saturating, _QUIET_IMAGES)}
        flooding, patience_s = {"add images": flood_rate}, {"add images": IMAGE_INGEST_PATIENCE_S}
        fairness = Fairness(
            BESIDE_IMAGES,
            Load(lone, IMAGES.patience_s, seconds, effort.settle_s, seed=1001),
            Load(flooding, patience_s, seconds, effort.settle_s, seed=1002),
        )
        beside_a_flood(quiet, flood, stack, fairness)


@contextlib.contextmanager
def _sites(stack: Stack) -> Iterator[tuple[SiteProcess, SiteProcess]]:
    """Two sites, each a process and an identity of its own."""

    def site(name: str, seed: int) -> Site:
        return Site(
            stack.service.url,
            name,
            COLLECTION,
            stack.fingerprint,
            stack.texture_bits,
            stack.api_keys[name],
            images=stack.images,
            seed=seed,
        )

    with SiteProcess(site(QUIET, 1)) as quiet, SiteProcess(site(FLOOD, 2)) as flood:
        yield quiet, flood


PARTS = {"codes": by_codes, "images": by_images}
"""What is measured on a service of its own, by name."""
