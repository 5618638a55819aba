"""Pictures of a run: its curves, and reconstructions beside originals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from slidekin_models.networks.vqvae import CODEBOOK_SIZE

_GAP_PX = 4
_COLOURS = 256


def draw_curves(metrics: Sequence[dict[str, Any]], path: Path) -> None:
    """Losses, use of the codebook and dead codewords over the steps, as PNG.

    Args:
        metrics: Lines of a run's record; some are about held-out patches.
        path: The file to write.
    """
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, use = figure.subplots(1, 2)
    trained = [line for line in metrics if "loss" in line]
    checked = [line for line in metrics if "held_out_perplexity" in line]

    def plot(axes: Any, lines: Sequence[dict[str, Any]], key: str, **style: Any) -> None:  # noqa: ANN401
        axes.plot([line["step"] for line in lines], [line[key] for line in lines], **style)

    plot(losses, trained, "recon_loss", color="tab:blue", label="reconstruction, training")
    plot(losses, trained, "reg_loss", color="tab:grey", label="vectors to codewords, training")
    plot(
        losses, checked, "held_out_recon_loss", color="tab:orange", label="reconstruction, held out"
    )
    losses.set(yscale="log", xlabel="step", ylabel="mean squared error")
    plot(use, trained, "perplexity", color="tab:blue", label="perplexity, training")
    plot(use, trained, "dead", color="tab:red", label="dead codewords")
    plot(use, checked, "held_out_perplexity", color="tab:orange", label="perplexity, held out")
    use.set(xlabel="step", ylabel=f"of {CODEBOOK_SIZE} codes", ylim=(0, CODEBOOK_SIZE))
    for axes in (losses, use):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def draw_reconstructions(
    originals: NDArray[np.uint8], reconstructions: NDArray[np.uint8], path: Path
) -> None:
    """Originals above, reconstructions below, as PNG of 256 colours.

    Args:
        originals: (n, side, side, 3) uint8.
        reconstructions: Likewise.
        path: Where to write.
    """
    rows = [_row(originals), _row(reconstructions)]
    width, height = rows[0].shape[1], rows[0].shape[0]
    sheet = np.full((2 * height + _GAP_PX, width, 3), 255, np.uint8)
    sheet[:height], sheet[height + _GAP_PX :] = rows
    # In full colour the file would be three times as large and look the same.
    Image.fromarray(sheet).quantize(_COLOURS).save(path, optimize=True)


def _row(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gap = np.full((patches.shape[1], _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([part for patch in patches for part in (patch, gap)][:-1], axis=1)
