"""One client that asks, notes what it is told, and has every answer judged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import grpc
from tests.faults.asked import Asked, CallFailedError
from tests.faults.content import SLIDES, content, patient, slides_of
from tests.faults.history import History
from tests.faults.model import Model, Version, Write


class JudgedClient:
    """Writes and searches of a service that others use as well. Safe to share between threads.

    Args:
        asked: The way to the service.
        model: What the service may hold.
        history: Where everything is noted.
        new_version: Gives a number that was never given before.
        tell: Told every fault.
    """

    def __init__(
        self,
        asked: Asked,
        model: Model,
        history: History,
        *,
        new_version: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        self._asked = asked
        self._model = model
        self._history = history
        self._new_version = new_version
        self._fault = tell

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
        version = self._new_version()
        self.change((slide,), version, lambda: self._asked.add(slide, version, replace=replace))

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
        codes = content(version)
        own = {int(key) for key in codes.keys}
        start = self._model.tick()
        found = self._asked.search(version, exact=chance.random() < 0.5)
        end = self._model.tick()
        self._history.note(
            "searched", slide=slide, version=version, start=start, end=end,
            hits=sum(map(bool, found.hits.values())), ranked=found.ranked,
        )  # fmt: skip
        strangers = {hit for bag in found.hits.values() for hit in bag if hit[0] != slide}
        strangers |= {hit for bag in found.hits.values() for hit in bag if hit[1] not in own}
        if strangers:
            self._fault(f"a search for version {version} of {slide} found {sorted(strangers)}")
        seen = [index for index, bag in found.hits.items() if bag]
        possible = self._model.possible(slide, start, end)
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
            could = (
                {version} if seen and other == slide else self._model.possible(other, start, end)
            )
            if label not in could:
                self._fault(f"a ranking holds version {label} of {other}, could be {could}")

    def change(self, slides: Iterable[str], version: Version, call: Callable[[], None]) -> None:
        """Ask for a change; raises as `write` does.

        Args:
            slides: What it concerns.
            version: What it makes of each.
            call: Asks for it.
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
