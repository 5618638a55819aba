"""Evaluating a collection: who may ask, the answers of every mode, the baseline, the scores."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slidekin._sync import Client
from slidekin._types import Collection, Network, Slide
from slidekin.evaluation._errors import EvaluationError
from slidekin.evaluation._files import Corners, MissingPixelsError, SlideFiles
from slidekin.evaluation._histogram import PatchHistograms, histogram_answers
from slidekin.evaluation._queries import Asked, Tell, ask
from slidekin.evaluation._scores import judge
from slidekin.evaluation._values import Answer, Evaluation, EvaluationSettings, Subject

BASELINE = "histogram"
"""Name of the baseline among the methods."""
_MAX_FILTER_LABELS = 10_000
_SHOWN = 5

Histograms = Callable[[Sequence[Subject]], Sequence[PatchHistograms]]
"""Makes the colour histograms of the subjects' patches, in their order."""


def evaluate(
    client: Client,
    collection: str,
    settings: EvaluationSettings | None = None,
    *,
    slide_files: Mapping[str, Path] | None = None,
    progress: Tell | None = None,
) -> Evaluation:
    """Evaluate a collection as it is being served.

    Every labelled slide is searched with, and the slides of its patient are left out of what it
    may find. Slides without a label neither ask nor are found.

    Args:
        client: The service.
        collection: Id or resource name.
        settings: Ks, modes, search options.
        slide_files: By slide id, the slides on disk: for the baseline of colour histograms. None:
            no baseline.
        progress: Told the stage (a mode, ``histogram``), what is done, how much there is.

    Raises:
        EvaluationError: There is nothing to evaluate: no slides, no labels, one label, one
            patient.
        NotFoundError: There is no such collection.
    """
    settings = settings or EvaluationSettings()
    tell: Tell = progress or (lambda _stage, _done, _total: None)
    held = client.get_collection(collection)
    slides = {slide.name: slide for slide in client.list_slides(held.name)}
    if slide_files is None:
        return evaluate_slides(client, held, slides, settings, histograms=None, progress=tell)
    files = SlideFiles(slide_files, slides, stored_corners(client, held.name))

    def histograms(subjects: Sequence[Subject]) -> Sequence[PatchHistograms]:
        return files.histograms(
            [subject.name for subject in subjects],
            workers=settings.jobs,
            progress=lambda done, total: tell(BASELINE, done, total),
        )

    return evaluate_slides(client, held, slides, settings, histograms=histograms, progress=tell)


def stored_corners(client: Client, collection: str) -> Corners:
    """Where the patches of every slide lie."""
    return {
        exported.slide.name: [(x, y) for x, y in exported.codes.xy.tolist()]
        for exported in client.export_slides(collection)
    }


def evaluate_slides(
    client: Client,
    collection: Collection,
    slides: Mapping[str, Slide],
    settings: EvaluationSettings,
    *,
    histograms: Histograms | None,
    progress: Tell,
    title: str | None = None,
) -> Evaluation:
    """Evaluate slides that are held, and the baseline where their histograms can be had.

    Args:
        client: The service.
        collection: Where they are held.
        slides: All of its slides, by name.
        settings: How.
        histograms: Makes the baseline's histograms; None: no baseline.
        progress: Told how far it is.
        title: What is evaluated. None: the collection.

    Raises:
        EvaluationError: As `evaluate`.
    """
    subjects = _subjects(collection, slides)
    labels = sorted({subject.label for subject in subjects})
    notes = _Notes(collection, slides, subjects)
    unlabelled = len(subjects) < len(slides)
    if unlabelled and len(labels) > _MAX_FILTER_LABELS:
        raise EvaluationError(
            f"{collection.name} has {len(labels)} labels; at most {_MAX_FILTER_LABELS} can be "
            "evaluated where some slides have none"
        )
    asked: dict[str, Asked] = {
        mode: ask(
            client,
            collection.name,
            subjects,
            mode,
            settings,
            admitted_labels=labels if unlabelled else (),
            progress=progress,
        )
        for mode in settings.modes
    }
    subjects, answers = _still_there(subjects, asked)
    if not subjects:
        raise EvaluationError(f"the slides of {collection.name} were deleted meanwhile")
    notes.after(asked, len(subjects))
    methods = list(answers.items())
    if histograms is None:
        notes.add("No colour-histogram baseline: no slide files were given.")
    else:
        try:
            made = histograms(subjects)
        except MissingPixelsError as error:
            notes.add(f"No colour-histogram baseline: {error}.")
        else:
            methods.append((BASELINE, histogram_answers(subjects, made, settings.longest)))
    has_baseline = methods[-1][0] == BASELINE
    results = judge(
        methods,
        settings,
        baseline=BASELINE if has_baseline else None,
        median_query_s={
            mode: answer.median_s for mode, answer in asked.items() if answer.median_s is not None
        },
    )
    return Evaluation(
        title=title or f"Collection {collection.collection_id}",
        collection=collection.name,
        made_at=dt.datetime.now(tz=dt.UTC),
        settings=settings,
        methods=results,
        labels=dict(sorted(Counter(subject.label for subject in subjects).items())),
        patients=len({subject.unit for subject in subjects}),
        networks=_networks(client, collection),
        model_fingerprint=collection.model_fingerprint,
        random_weights=any(answer.random_weights for answer in asked.values()),
        hamming_threshold_bits=_threshold(settings, collection),
        texture_bits=collection.texture_bits,
        index_versions=(
            min(answer.versions[0] for answer in asked.values()),
            max(answer.versions[1] for answer in asked.values()),
        ),
        notes=notes.sentences,
    )


def _subjects(collection: Collection, slides: Mapping[str, Slide]) -> list[Subject]:
    """The labelled slides, or the reason why they cannot be evaluated."""
    name = collection.collection_id
    if not slides:
        raise EvaluationError(
            f"collection {name} holds no slides: fill it with `slidekin ingest` first"
        )
    subjects = [
        Subject(slide.name, slide.label, slide.patient_id)
        for slide in slides.values()
        if slide.label
    ]
    if not subjects:
        raise EvaluationError(
            f"no slide of collection {name} has a label, so nothing says which answer is right: "
            "give labels with `slidekin ingest --labels FILE` or `slidekin slides label`"
        )
    labels = {subject.label for subject in subjects}
    if len(labels) == 1:
        raise EvaluationError(
            f"every labelled slide of collection {name} has the label '{labels.pop()}', so every "
            "answer would be right: at least two labels are needed"
        )
    if len({subject.unit for subject in subjects}) == 1:
        raise EvaluationError(
            f"all labelled slides of collection {name} are of one patient, so that nothing is left "
            "to find when that patient is left out: at least two patients are needed"
        )
    return subjects


def _still_there(
    subjects: Sequence[Subject], asked: Mapping[str, Asked]
) -> tuple[list[Subject], dict[str, list[Answer]]]:
    """The subjects that every mode answered, and their answers."""
    whole = [
        place
        for place in range(len(subjects))
        if all(answer.answers[place] is not None for answer in asked.values())
    ]
    answers = {
        mode: [answer for place in whole if (answer := given.answers[place]) is not None]
        for mode, given in asked.items()
    }
    return [subjects[place] for place in whole], answers


def _networks(client: Client, collection: Collection) -> tuple[str, ...]:
    """What made the collection's codes, where the service still serves it."""
    status = client.status()
    for model in (status.model, *(served.model for served in status.models)):
        if model.fingerprint and model.fingerprint == collection.model_fingerprint:
            return tuple(_network(network) for network in model.networks)
    return ()


def _network(network: Network) -> str:
    facts = [f"{network.runtime} {network.precision}".strip()]
    if network.random_weights:
        facts.append("random weights")
    told = ", ".join(fact for fact in facts if fact)
    return f"{network.name} ({told})" if told else network.name


def _threshold(settings: EvaluationSettings, collection: Collection) -> int:
    stated = settings.options.hamming_threshold_bits
    return collection.hamming_threshold_bits if stated is None else stated


class _Notes:
    """What a reader has to know."""

    def __init__(
        self, collection: Collection, slides: Mapping[str, Slide], subjects: Sequence[Subject]
    ) -> None:
        self.sentences: tuple[str, ...] = ()
        unlabelled = len(slides) - len(subjects)
        if unlabelled:
            self.add(
                f"{unlabelled} of {len(slides)} slides have no label: they did not ask and could "
                "not be found."
            )
        nobody = sum(not subject.patient_id for subject in subjects)
        if nobody:
            self.add(
                f"{nobody} of {len(subjects)} slides name no patient: only the slide itself was "
                "left out of its search, and it counts as a patient of its own."
            )
        units: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for subject in subjects:
            units[subject.label].add(subject.unit)
        lonely = sorted(label for label, patients in units.items() if len(patients) == 1)
        if lonely:
            shown = ", ".join(lonely[:_SHOWN]) + (", ..." if len(lonely) > _SHOWN else "")
            self.add(
                f"{len(lonely)} labels ({shown}) are held by one patient only: with that patient "
                "left out they cannot be found, and their queries count as wrong."
            )
        if not collection.model_fingerprint:
            self.add("The collection does not say which model made its codes.")

    def add(self, sentence: str) -> None:
        self.sentences = (*self.sentences, sentence)

    def after(self, asked: Mapping[str, Asked], answered: int) -> None:
        """What the queries themselves brought to light."""
        total = max(len(answer.answers) for answer in asked.values())
        if answered < total:
            self.add(f"{total - answered} slides were deleted meanwhile and are not counted.")
        versions = {version for answer in asked.values() for version in answer.versions}
        if len(versions) > 1:
            self.add(
                f"The collection changed meanwhile (index versions {min(versions)} to "
                f"{max(versions)}): not every query saw the same slides."
            )
