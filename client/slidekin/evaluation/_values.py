"""What an evaluation takes and says: frozen values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from slidekin._types import SearchMode, SearchOptions


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """How to evaluate.

    Raises:
        ValueError: A number is out of range, or a list is empty.
    """

    ks: tuple[int, ...] = (1, 3, 5)
    """Lengths of the list that are judged. One search with the greatest serves all of them: a
    smaller k looks at the beginning of its list."""
    modes: tuple[SearchMode, ...] = ("guided", "exact", "hybrid")
    """Modes side by side."""
    options: SearchOptions = field(default_factory=SearchOptions)
    """Everything else of a search (profile, threshold, walk, ranking). Its k, mode and filter are
    replaced."""
    jobs: int = 4
    """Queries under way at the same time."""
    resamples: int = 2000
    """Bootstrap samples behind an interval."""
    seed: int = 0
    """Of the bootstrap."""
    examples: int = 3
    """Good ones, and as many bad ones, that a report shows of each method."""

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1 or not self.modes:
            raise ValueError("give at least one mode and at least one k, each k at least 1")
        if self.jobs < 1 or self.resamples < 1 or self.examples < 0:
            raise ValueError("jobs and resamples are at least 1, examples at least 0")
        object.__setattr__(self, "ks", tuple(sorted(set(self.ks))))

    @property
    def longest(self) -> int:
        """The greatest k."""
        return self.ks[-1]


@dataclass(frozen=True, slots=True)
class Subject:
    """A labelled slide that asks and is found."""

    name: str
    """Its resource name."""
    label: str
    """What it shows."""
    patient_id: str = ""
    """Whose it is; empty: not stated, and then it stands for a patient of its own."""

    @property
    def slide_id(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]

    @property
    def unit(self) -> tuple[str, str]:
        """What is left out with it, and what the bootstrap draws: its patient, else itself."""
        return ("patient", self.patient_id) if self.patient_id else ("slide", self.name)


@dataclass(frozen=True, slots=True)
class Pair:
    """A patch of the query and the patch that it matched best."""

    query_index: int
    """Of the query's patch, from 0."""
    query_xy: tuple[int, int]
    """Its top-left corner in level-0 pixels."""
    found_index: int
    """Of the matched patch in its slide, from 0."""
    found_xy: tuple[int, int]
    """Its top-left corner in level-0 pixels."""


@dataclass(frozen=True, slots=True)
class Found:
    """A slide of an answer."""

    name: str
    """Its resource name."""
    label: str
    """What it shows."""
    distance: float
    """Bits of Hamming distance, or the baseline's distance (0 to 1)."""
    pair: Pair | None = None
    """Why it was found, where that is known."""

    @property
    def slide_id(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query got."""

    subject: Subject
    """Who asked."""
    found: tuple[Found, ...]
    """Best first."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of what was found, best first."""
        return tuple(found.label for found in self.found)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure over all queries."""

    macro: Estimate
    """Mean over labels of the labels' means: a rare label counts as much as a common one."""
    overall: Estimate
    """Mean over queries."""
    by_label: Mapping[str, Estimate]
    """Means by label."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How well lists of one length did."""

    k: int
    majority_vote: Measured
    """mMV@k."""
    average_precision: Measured
    """mAP@k."""
    short_answers: Measured
    """Share of queries that got fewer than k slides."""
    vote_against_baseline: Estimate | None = None
    """Macro mMV@k minus the baseline's, over the same resamples. None: no baseline, or it is
    the baseline."""
    precision_against_baseline: Estimate | None = None
    """Likewise of mAP@k."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """What the vote of the first k said."""

    k: int
    labels: tuple[str, ...]
    """Rows; and columns, behind which stands a last one: no vote."""
    counts: tuple[tuple[int, ...], ...]
    """By own label, then by the label voted for."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """One way of finding slides, judged."""

    name: str
    """``guided``, ``exact``, ``hybrid`` or ``histogram``."""
    scores: tuple[Scores, ...]
    """By k, ascending."""
    confusion: Confusion
    """At the greatest k."""
    answers: tuple[Answer, ...]
    """What every query got."""
    median_query_s: float | None = None
    """Median time of a query in the service, with as many under way as the settings say."""

    def at(self, k: int) -> Scores:
        """The scores of lists of length k."""
        return next(scores for scores in self.scores if scores.k == k)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of it."""

    title: str
    """What was evaluated, for people."""
    collection: str
    """Resource name of the collection; of a temporary one where tiles were evaluated."""
    made_at: dt.datetime
    settings: EvaluationSettings
    methods: tuple[MethodResult, ...]
    """By mode, then the baseline where there is one."""
    labels: Mapping[str, int]
    """Queries by label, by name."""
    patients: int
    """Patients, or slides that stand for one."""
    networks: tuple[str, ...]
    """Which networks made the codes; empty: not known."""
    model_fingerprint: str
    random_weights: bool
    """A network's weights are random: the figures say little of what a trained one would do."""
    hamming_threshold_bits: int
    texture_bits: int
    index_versions: tuple[int, int]
    """First and last version that a query saw."""
    notes: tuple[str, ...]
    """What a reader has to know, in sentences."""
