"""The sending half of a stream, driven by another thread than the one that reads the answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Feed(Generic[_T]):
    """Hands out messages one by one; keeps the error that ended them; can be shut from outside.

    gRPC turns an exception in a request iterator into a call without a cause, so the cause is
    kept here. After `close` no message is being made and none will be: what they are made from (an
    open slide) may be closed.
    """

    def __init__(self, messages: Iterator[_T]) -> None:
        self._messages = messages
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.error: Exception | None = None

    def __iter__(self) -> Feed[_T]:
        return self

    def __next__(self) -> _T:
        message = self.take()
        if message is None:
            raise StopIteration
        return message

    def take(self) -> _T | None:
        """The next message; None where there is none."""
        with self._lock:
            if self._closed.is_set():
                return None
            try:
                return next(self._messages, None)
            except Exception as error:
                self.error = error
                raise

    def close(self) -> None:
        """Ends the messages; waits for the one that is being made."""
        self._closed.set()
        with self._lock:
            close = getattr(self._messages, "close", None)
            if close is not None:
                close()
