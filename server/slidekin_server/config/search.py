"""How searches run."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field

from slidekin_server.config.section import Positive, Section


class DefaultProfile(Section):
    """Values of the search profile ``default`` where a request states none."""

    seed_spacing: Positive = 50
    seeds_per_side: Positive = 10
    successor_steps: Annotated[int, Field(ge=0)] = 375
    predecessor_steps: Annotated[int, Field(ge=0)] = 375
    include_seed_key: bool = True
    min_hits: Positive = 1
    exact_limit: Positive = 100


class Search(Section):
    """How searches run."""

    threads: Annotated[int, Field(ge=0)] = 0
    default_profile: DefaultProfile = DefaultProfile()

    @property
    def thread_count(self) -> int:
        """Threads to start: ``threads``, or one for each CPU this process may use."""
        return self.threads or len(os.sched_getaffinity(0))
