"""Progress of a run: an updating line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from slidekin_models.networks.vqvae import CODEBOOK_SIZE
from slidekin_models.training.run import Progress

_LINE_EVERY_S = 15.0


class Display:
    """Shows progress; use it as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._last_s = float("-inf")

    def __enter__(self) -> Self:
        if self._moves:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._moves:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line about work other than steps."""
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Show the newest figures."""
        if self._quiet:
            return
        text = progress_line(progress)
        if self._moves:
            self._live.update(Text(text), refresh=True)
            return
        now = time.monotonic()
        if now - self._last_s >= _LINE_EVERY_S or progress.step == progress.steps:
            self._last_s = now
            self._console.print(text, markup=False, soft_wrap=True)

    @property
    def _moves(self) -> bool:
        return self._console.is_terminal and not self._quiet


def progress_line(progress: Progress) -> str:
    """Return the important figures in one line."""
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return (
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  "
        f"perplexity {progress.perplexity:.1f} of {CODEBOOK_SIZE}  dead {progress.dead}  "
        f"left {left}"
    )
