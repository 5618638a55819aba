"""One client that asks, notes what it is told, and has every answer judged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import grpc
from tests.faults.asked import OTHER_MODEL, Asked, CallFailedError, Found
from tests.faults.content import SLIDES, content, patient, slides_of
from tests.faults.history import History
from tests.faults.model import GENERATION, Model, Version, Write

from slidekin_server.values import PatchCodes


class JudgedClient:
    """Writes and searches of a service that others use as well. Safe to share between threads.

    Args:
        asked: The way to the service.
        model: What the service may hold.
        history: Where everything is noted.
        new_version: Gives a number that was never given before.
        tell: Told every fault.
        generation: The collection's, as far as is known.

    Attributes:
        generation: The one whose codes are sent; whoever reindexes the collection sets it.
    """

    def __init__(
        self,
        asked: Asked,
        model: Model,
        history: History,
        *,
        new_version: Callable[[], int],
        tell: Callable[[str], None],
        generation: int = 0,
    ) -> None:
        self._asked = asked
        self._model = model
        self._history = history
        self._new_version = new_version
        self._fault = tell
        self.generation = generation

    def write(self, chance: random.Random) -> None:
        """Add, replace or delete a slide, or erase a patient.

        Raises:
            CallFailedError: The call failed, and whether it counts is not known.
        """
        slide = chance.choice(SLIDES)
        dice = chance.random()
        if dice < 0.45:
            self.add(slide, replace=True)
        elif dice < 0.65:
            self.add(slide, replace=False)
        elif dice < 0.95:
            self.delete(slide)
        else:
            self.erase(patient(slide))

    def add(self, slide: str, *, replace: bool) -> None:
        """Add a new version of a slide; raises as `write` does."""
        version, generation = self._new_version(), self.generation
        self.change(
            (slide,),
            version,
            lambda: self._asked.add(slide, version, generation, replace=replace),
            generation=generation,
        )

    def delete(self, slide: str) -> None:
        """Delete a slide; raises as `write` does."""
        self.change((slide,), None, lambda: self._asked.delete(slide))

    def erase(self, patient_id: str) -> None:
        """Delete all slides of a patient; raises as `write` does."""
        self.change(slides_of(patient_id), None, lambda: self._asked.delete_patient(patient_id))

    def search(self, chance: random.Random) -> None:
        """Search for a slide that may be there, and judge what is found.

        Raises:
            CallFailedError: The call failed.
        """
        slide = chance.choice(SLIDES)
        now = self._model.tick()
        version = chance.choice(sorted(self._model.possible(slide, now, now), key=str))
        if version is None:
            return
        generation = self.generation
        codes = content(version, generation)
        start = self._model.tick()
        try:
            found = self._asked.search(version, generation, exact=chance.random() < 0.5)
        except CallFailedError as failure:
            if failure.reason not in OTHER_MODEL:
                raise
            self._judge_other_model(generation, start)
            return
        end = self._model.tick()
        if generation not in self._model.possible(GENERATION, start, end):
            self._fault(
                f"a search by codes of generation {generation}, which is over, was answered"
            )
        self._history.note(
            "searched", slide=slide, version=version, start=start, end=end,
            hits=sum(map(bool, found.hits.values())), ranked=found.ranked,
        )  # fmt: skip
        self._judge_hits(slide, version, codes, found, (start, end))

    def _judge_hits(
        self, slide: str, version: int, codes: PatchCodes, found: Found, span: tuple[int, int]
    ) -> None:
        """A search for a version of a slide finds all of it or nothing, and nothing else."""
        own = {int(key) for key in codes.keys}
        strangers = {hit for bag in found.hits.values() for hit in bag if hit[0] != slide}
        strangers |= {hit for bag in found.hits.values() for hit in bag if hit[1] not in own}
        if strangers:
            self._fault(f"a search for version {version} of {slide} found {sorted(strangers)}")
        seen = [index for index, bag in found.hits.items() if bag]
        possible = self._model.possible(slide, *span)
        if seen and len(seen) != len(codes):
            self._fault(
                f"a search saw {len(seen)} of {len(codes)} patches of {slide}, version {version}"
            )
        if seen and version not in possible:
            self._fault(f"a search found version {version} of {slide}, could be {possible}")
        if not seen and possible == {version}:
            self._fault(f"a search missed version {version} of {slide}")
        if seen and slide not in {other for other, _ in found.ranked}:
            self._fault(f"the ranking for {slide} does not fit its hits: {found.ranked}")
        for other, label in found.ranked:
            could = {version} if seen and other == slide else self._model.possible(other, *span)
            if label not in could:
                self._fault(f"a ranking holds version {label} of {other}, could be {could}")

    def change(
        self,
        slides: Iterable[str],
        version: Version,
        call: Callable[[], None],
        *,
        generation: int | None = None,
    ) -> None:
        """Ask for a change; raises as `write` does.

        Args:
            slides: What it concerns.
            version: What it makes of each.
            call: Asks for it.
            generation: Of the codes that are sent, if any are.
        """
        write = self._model.begin(slides, version)
        told = {"slides": write.slides, "version": version, "start": write.start}
        try:
            call()
        except CallFailedError as failure:
            self._history.note("change failed", code=failure.code.name, **told)
            if not failure.refused:
                self._model.lose(write)
                raise
            self._model.refuse(write)
            self._judge_refusal(write, failure.code)
            if generation is not None and failure.reason in OTHER_MODEL:
                self._judge_other_model(generation, write.start)
            return
        self._model.acknowledge(write)
        self._history.note("changed", end=write.end, **told)

    def _judge_refusal(self, write: Write, code: grpc.StatusCode) -> None:
        """A refusal tells what was there: it, too, may be wrong."""
        for slide in write.slides:
            possible = self._model.possible(slide, write.start, write.end)
            if code is grpc.StatusCode.NOT_FOUND and None not in possible:
                self._fault(f"{slide} is not found, must be there as {possible}")
            if code is grpc.StatusCode.ALREADY_EXISTS and possible == {None}:
                self._fault(f"{slide} is in the way, was deleted")

    def _judge_other_model(self, generation: int, start: int) -> None:
        """Codes were refused since the collection has, or is just getting, another model."""
        if self._model.possible(GENERATION, start, self._model.tick()) == {generation}:
            self._fault(f"codes of generation {generation} are refused, which it is")
