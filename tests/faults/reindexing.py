"""A client that leads a collection from one generation to the next while others use it."""

from __future__ import annotations

import random

from tests.faults.asked import AskedByStubs, CallFailedError
from tests.faults.client import JudgedClient
from tests.faults.model import GENERATION, Model

_CANCELLED = 0.03
_EARLY = 0.1
"""How often it asks for the end though slides are missing."""


class Reindexing:
    """Reindexes, one after the other.

    Args:
        asked: The way to the service.
        client: Whose generation is told on.
        model: What the service may hold.
    """

    def __init__(self, asked: AskedByStubs, client: JudgedClient, model: Model) -> None:
        self._asked = asked
        self._client = client
        self._model = model

    def some(self, chance: random.Random) -> None:
        """Encode what is missing, then ask for the end, or give it up.

        Raises:
            CallFailedError: The service is gone.
        """
        generation = self._client.generation + 1
        self._asked.start_reindex(generation)
        if chance.random() < _CANCELLED:
            self._asked.cancel_reindex()
            return
        for pending in self._asked.pending():
            if chance.random() < _EARLY:
                break
            try:
                self._asked.reindex(pending, generation)
            except CallFailedError as failure:
                if not failure.refused:  # it was deleted or replaced meanwhile
                    raise
        # Refused where slides are missing: then it has no effect, which is looked at as well.
        self._client.change(
            (GENERATION,), generation, lambda: self._asked.finish_reindex(generation)
        )
        self._client.generation = self._asked.generation()
