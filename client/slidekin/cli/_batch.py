"""Many slides at a time through one kind of work, with bars, until all are tried."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from slidekin._exceptions import AccessDeniedError, SlidekinError, UnavailableError
from slidekin._sync import Client
from slidekin.cli._common import err_console, escape, out_console
from slidekin.cli._finding import FoundSlide

_WAKE_S = 0.5
"""A Ctrl-C that the system hands to another thread is seen only when this one wakes."""


class Outcome(Protocol):
    """What became of a slide, in a line."""

    def told(self) -> str:
        """The line."""


_O = TypeVar("_O", bound=Outcome)


@dataclass
class Batch(Generic[_O]):
    """What became of all of them."""

    done: list[_O] = field(default_factory=list)
    failures: list[tuple[FoundSlide, str]] = field(default_factory=list)
    not_tried: int = 0
    """Slides left over since the service was gone."""

    def report_failures(self) -> None:
        """Lists the slides that failed, each with its reason."""
        if not self.failures:
            return
        console = out_console()
        console.print("\nSlides that failed:")
        for slide, reason in self.failures:
            console.print(f"  {escape(str(slide.path))}", soft_wrap=True)
            console.print(Padding(escape(reason), (0, 0, 0, 6)))
        if self.not_tried:
            console.print("The service went away; run the same command again to go on.")


class Bar:
    """Progress of one slide; told by the thread that reads it and the one that sends it."""

    _STAGES: Mapping[str, str] = {
        "tissue": "finding tissue",
        "patches": "looking at patches",
        "mosaic": "picking the mosaic",
        "send": "encoding",
    }

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        with self._lock:
            self._progress.update(
                self._task, completed=done, total=total, stage=self._STAGES.get(stage, stage)
            )


def run_batch(
    client: Client,
    slides: Sequence[FoundSlide],
    work: Callable[[FoundSlide, Bar], _O],
    *,
    jobs: int,
    explain: Callable[[Exception, FoundSlide], str],
) -> Batch[_O]:
    """Works on slides, ``jobs`` at a time, until all are tried or the service is gone.

    Args:
        client: Closed on Ctrl-C, which ends what is under way.
        slides: What to work on.
        work: Does it, for one slide.
        jobs: Slides at a time.
        explain: Says why one failed.
    """
    batch: Batch[_O] = Batch()
    gone: str | None = None
    with (
        Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[stage]}"),
            TimeElapsedColumn(),
            console=err_console(),
            transient=True,
        ) as progress,
        ThreadPoolExecutor(max_workers=jobs) as pool,
    ):
        overall = progress.add_task("slides", total=len(slides), stage="")
        waiting = list(reversed(slides))
        running: dict[Future[_O], FoundSlide] = {}
        try:
            while waiting or running:
                # Handed out one by one: a service that is gone leaves the rest untried.
                while waiting and len(running) < jobs and gone is None:
                    slide = waiting.pop()
                    running[pool.submit(_shown, work, slide, progress)] = slide
                if not running:
                    break
                done, _ = wait(running, timeout=_WAKE_S, return_when=FIRST_COMPLETED)
                for future in done:
                    slide = running.pop(future)
                    progress.advance(overall)
                    try:
                        outcome = future.result()
                    except (UnavailableError, AccessDeniedError) as error:
                        gone = str(error)
                        batch.failures.append((slide, gone))
                    except (SlidekinError, OSError, ValueError) as error:
                        batch.failures.append((slide, explain(error, slide)))
                        progress.console.print(f"[red]failed[/]   {escape(slide.slide_id)}")
                    else:
                        batch.done.append(outcome)
                        progress.console.print(outcome.told())
        except KeyboardInterrupt:
            # Else the pool would wait for the slides under way to be encoded.
            client.close()
            raise
    batch.not_tried = len(waiting)
    return batch


def reason_of(error: Exception, slide: FoundSlide) -> str:
    """The message without the path, which the list of failures names already."""
    return str(error).removeprefix(f"{slide.path}: ")


def without_twins(
    slides: Sequence[FoundSlide],
) -> tuple[list[FoundSlide], list[tuple[FoundSlide, str]]]:
    """The slides but those whose id another one has taken, and those with the reason."""
    first: dict[str, FoundSlide] = {}
    twins: list[tuple[FoundSlide, str]] = []
    for slide in slides:
        taken = first.setdefault(slide.slide_id, slide)
        if taken is not slide:
            twins.append((slide, f"{taken.path} has the same id; rename one of the files"))
    return list(first.values()), twins


def _shown(work: Callable[[FoundSlide, Bar], _O], slide: FoundSlide, progress: Progress) -> _O:
    """Works on one slide, with a bar of its own while it lasts."""
    task = progress.add_task(f"  {escape(slide.slide_id)}", total=None, stage="opening")
    try:
        return work(slide, Bar(progress, task))
    finally:
        progress.remove_task(task)
