"""Threads that take work in fair order, and skip work that nobody waits for any more."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import ParamSpec, TypeVar, cast

from slidekin_server.admission.errors import DrainingError
from slidekin_server.admission.line import FairLine
from slidekin_server.admission.ticket import Ticket, current_ticket
from slidekin_server.telemetry import Metrics, Waiting

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Job:
    """One piece of work, and the future that takes its result."""

    def __init__(self, ticket: Ticket, work: Callable[[], object], waiting: Waiting) -> None:
        self._ticket = ticket
        self._work = work
        self.waiting = waiting
        self.future: Future[object] = Future()

    def run(self, doing: str) -> None:
        """Do the work, unless nobody waits for it any more; the future takes result or error."""
        if not self.future.set_running_or_notify_cancel():
            return
        started = time.monotonic()
        try:
            self._ticket.require_wanted(doing)
            result = self._work()
        except BaseException as error:  # noqa: BLE001  whoever waits is told
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
        finally:
            self._ticket.computed_s += time.monotonic() - started


class FairPool:
    """A pool of threads before one fair line.

    Threads fetch their next piece of work themselves, so that none idles while the event loop is
    busy.

    Args:
        stage: Name of what they do, for metrics and the threads' own names.
        threads: How many there are.
        bulk_every: See ``FairLine``.
        metrics: Where to count.
    """

    def __init__(self, stage: str, threads: int, *, bulk_every: int, metrics: Metrics) -> None:
        self._stage = stage
        self._metrics = metrics
        self._line: FairLine[_Job] = FairLine(bulk_every=bulk_every)
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"{stage}_{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function in a thread, in the caller's context.

        If the caller is cancelled, work that has not begun is dropped; begun work runs to its end.

        Raises:
            DrainingError: The pool was closed.
            DeadlinePassedError: The call ended, or its deadline passed, before the work began.
        """
        ticket = current_ticket()
        context = contextvars.copy_context()
        waiting = self._metrics.waiting(self._stage, ticket.caller.urgency.name.lower())
        job = _Job(ticket, partial(context.run, partial(function, *args, **kwargs)), waiting)
        with self._changed:
            if self._closed:
                # The service has stopped waiting for its calls, and this one still goes on.
                raise DrainingError
            place = self._line.join(ticket, job)
            waiting.begin()
            self._changed.notify()
        try:
            return cast("_T", await asyncio.wrap_future(job.future))
        finally:
            with self._changed:
                if not place.left:
                    self._line.leave(place)
                    waiting.end()

    def close(self) -> None:
        """Drop work that waits, and return once running work has ended."""
        with self._changed:
            self._closed = True
            while (place := self._line.next()) is not None:
                place.what.waiting.end()
                place.what.future.cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while (place := self._line.next()) is None:
                    if self._closed:
                        return
                    self._changed.wait()
                place.what.waiting.end()
            place.what.run(f"{self._stage} began")
            # Dropped before waiting again: it may keep an index version alive.
            del place
