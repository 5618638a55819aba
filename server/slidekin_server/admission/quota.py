"""Limits on how much is held at a time: by one identity, and by all together."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that may be held."""

    in_all: int
    """By all identities together."""
    each: int
    """By one identity."""


@dataclass(slots=True, eq=False)
class _Waiter:
    identity: str
    amount: int
    taken: asyncio.Future[None]


class Quota:
    """Counts what identities hold, and keeps them within bounds. Belongs to one event loop.

    Waiters are served in order of arrival. A waiter whose own identity has reached its share is
    passed over, so that it delays nobody else.

    Args:
        bounds: How much may be held.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._held: Counter[str] = Counter()
        self._in_all = 0
        self._waiting: deque[_Waiter] = deque()

    def held_in_all(self) -> int:
        """Return what all identities hold together."""
        return self._in_all

    def held(self, identity: str) -> int:
        """Return what an identity holds."""
        return self._held[identity]

    def limit_in_the_way(self, identity: str, amount: int = 1) -> int | None:
        """Return the bound that ``amount`` more would exceed; None if it exceeds none."""
        if self._held[identity] + amount > self.bounds.each:
            return self.bounds.each
        if self._in_all + amount > self.bounds.in_all:
            return self.bounds.in_all
        return None

    def take(self, identity: str, amount: int = 1) -> bool:
        """Take ``amount`` if the bounds allow it and no waiter of this identity comes first.

        Returns:
            Whether it was taken.
        """
        if any(waiter.identity == identity for waiter in self._waiting):
            return False
        if self.limit_in_the_way(identity, amount) is not None:
            return False
        self._add(identity, amount)
        return True

    async def wait(self, identity: str, amount: int, *, until: float | None) -> int:
        """Take ``amount`` as soon as the bounds allow it.

        More than an identity may ever hold is cut to that, and so taken once it holds nothing else.

        Args:
            identity: Who takes it.
            amount: How much.
            until: Time of the event loop at which to give up; None: never.

        Returns:
            The amount taken, to be given back.

        Raises:
            TimeoutError: There was no room by then.
        """
        amount = min(amount, self.bounds.each, self.bounds.in_all)
        if self.take(identity, amount):
            return amount
        waiter = _Waiter(identity, amount, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout_at(until):
                await waiter.taken
        except BaseException:
            if waiter.taken.done() and not waiter.taken.cancelled():
                self.give_back(identity, amount)
            else:
                self._waiting.remove(waiter)
                self._serve()
            raise
        return amount

    def give_back(self, identity: str, amount: int = 1) -> None:
        """Give back what was taken."""
        self._held[identity] -= amount
        self._in_all -= amount
        if not self._held[identity]:
            del self._held[identity]
        self._serve()

    def _add(self, identity: str, amount: int) -> None:
        self._held[identity] += amount
        self._in_all += amount

    def _serve(self) -> None:
        passed: set[str] = set()
        for waiter in list(self._waiting):
            if waiter.identity in passed or waiter.taken.done():
                continue
            if self._held[waiter.identity] + waiter.amount > self.bounds.each:
                passed.add(waiter.identity)
                continue
            if self._in_all + waiter.amount > self.bounds.in_all:
                # Nobody may overtake: else a waiter for much would wait for ever.
                return
            self._waiting.remove(waiter)
            self._add(waiter.identity, waiter.amount)
            waiter.taken.set_result(None)
