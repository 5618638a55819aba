"""What may be true of a store, told from the calls alone: the judge of every fault round.

Each slide is a register: a write gives it a version, or takes it away. Moments are ticks of one
counter, so that "before" is certain. A read may return what a write gave it unless another,
acknowledged write came wholly in between. An unacknowledged write may count or not; also later, as
long as the service lives that it was asked of.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Version = int | None
"""None: the slide is not there."""
GENERATION = "(generation)"
"""Register beside the slides: how often the collection was given another model."""


@dataclass(eq=False)
class Write:
    """One change that was asked for."""

    slides: tuple[str, ...]
    version: Version
    start: int
    end: float = math.inf
    """Infinite while it is under way."""
    acknowledged: bool = False
    refused: bool = False
    """The service said no: it has no effect."""
    lost: bool = False
    """The call failed, and nobody knows whether it had an effect."""


@dataclass
class Model:
    """Everything that was asked of one store, and what it may hold."""

    _clock: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _writes: dict[str, list[Write]] = field(default_factory=lambda: defaultdict(list))
    _first: dict[str, Version] = field(default_factory=dict)
    """What each slide was seen to be after the last restart."""

    def tick(self) -> int:
        """A moment later than all before."""
        return next(self._clock)

    def begin(self, slides: Iterable[str], version: Version) -> Write:
        """A write is about to be asked for."""
        with self._lock:
            write = Write(tuple(slides), version, self.tick())
            for slide in write.slides:
                self._writes[slide].append(write)
        return write

    def acknowledge(self, write: Write) -> None:
        """The service said that it was done."""
        with self._lock:
            write.acknowledged, write.end = True, self.tick()

    def refuse(self, write: Write) -> None:
        """The service said that it was not done."""
        with self._lock:
            write.refused, write.end = True, self.tick()

    def lose(self, write: Write) -> None:
        """The call failed: the write may have counted, or may do so yet."""
        with self._lock:
            write.lost = True

    def died(self) -> None:
        """The service is gone, and with it every lost write that has not counted by now."""
        with self._lock:
            now = self.tick()
            for write in itertools.chain.from_iterable(self._writes.values()):
                if write.lost:
                    write.end = min(write.end, now)

    def forget(self, before: float) -> None:
        """Drop what no read that begins after a moment can return: long runs stay fast."""
        with self._lock:
            for slide, writes in self._writes.items():
                done = [write for write in writes if write.acknowledged and write.end < before]
                self._writes[slide] = [
                    write
                    for write in writes
                    if not write.refused and not any(write.end < later.start for later in done)
                ]

    def possible(self, slide: str, since: float, until: float) -> set[Version]:
        """What a read of a slide between two moments may find."""
        with self._lock:
            writes = [w for w in self._writes[slide] if not w.refused]
        first = Write((slide,), self._first.get(slide), -2, -1, acknowledged=True)
        candidates = [first, *(write for write in writes if write.start < until)]
        done = [write for write in writes if write.acknowledged]
        return {
            write.version
            for write in candidates
            if not any(write.end < later.start and later.end < since for later in done)
        }

    def judge(self, found: Mapping[str, Version], since: float, until: float) -> list[str]:
        """Say what of a reading of everything cannot be.

        Args:
            found: The version of each slide that was found.
            since: When the reading began.
            until: When it ended.
        """
        faults = []
        for slide in sorted({*self._writes, *self._first, *found}):
            possible = self.possible(slide, since, until)
            version = found.get(slide)
            if version not in possible:
                kind = (
                    "an acknowledged slide is lost or out of date"
                    if None not in possible
                    else "a slide is back from the dead, or was never asked for"
                )
                faults.append(
                    f"{kind}: {slide} is {version}, could be {sorted(map(str, possible))}"
                )
        return faults

    def settle(self, found: Mapping[str, Version]) -> None:
        """After a restart nothing is open any more: what was found is what is there."""
        with self._lock:
            self._writes.clear()
            self._first = dict(found)
