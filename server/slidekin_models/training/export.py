"""From a run to a model directory, for ``vqvae: {manifest: ...}`` in ``models.yaml``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slidekin_models.errors import TrainingError
from slidekin_models.networks.semantic import ORDERS, order_figures
from slidekin_models.networks.vqvae import VqVae
from slidekin_models.training.card import CardFacts, card
from slidekin_models.training.checkpoints import RunFolder
from slidekin_models.training.pictures import draw_curves, draw_reconstructions
from slidekin_models.weights import directories
from slidekin_models.weights.manifest import MANIFEST_NAME, WEIGHTS_NAME, VqVaeManifest

Store = Literal["full", "compact"]


@dataclass(frozen=True, slots=True)
class Stored:
    """How the weights are written."""

    store: Store = "full"
    """``compact``: only encoder and codebook, in half precision, which encoding needs."""
    order: str = "principal"
    """The semantic order, of `ORDERS`."""


def export_model(
    folder: RunFolder, network: VqVae, facts: CardFacts, stored: Stored, patches: Tensor | None
) -> VqVaeManifest:
    """Write weights, manifest, card and pictures into the run's model directory.

    Files from an earlier state of the run are replaced, the manifest last.

    Args:
        folder: The run's folder.
        network: The trained network.
        facts: Facts of the run; those of the orders are added.
        stored: How the weights are written.
        patches: Held-out patches for the pictures, (n, side, side, 3) uint8; None: no pictures.

    Raises:
        TrainingError: The disk is full or fails.
    """
    compact = stored.store == "compact"
    tensors = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    codewords = _codewords(tensors, half=compact)
    orders = {name: make(codewords) for name, make in ORDERS.items()}
    figures = {name: order_figures(codewords, order) for name, order in orders.items()}
    scratch = folder.path / "export"
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        manifest = directories.write_vqvae(
            scratch,
            tensors,
            name=facts.name,
            source=(
                f"slidekin-server models train, {facts.step} steps, seed {facts.settings.seed}, on "
                f"{', '.join(facts.sources)}"
            ),
            licence=facts.licence,
            random_weights=False,
            semantic_order=orders[stored.order],
            half=compact,
            decoder=not compact,
        )
        draw_curves(folder.metrics(), scratch / "curves.png")
        if patches is not None:
            draw_reconstructions(
                patches.numpy(), reconstructed(network, patches), scratch / "reconstructions.png"
            )
        text = card(replace(facts, orders=figures, order=stored.order))
        (scratch / "CARD.md").write_text(text, encoding="utf-8")
        (folder.out / MANIFEST_NAME).unlink(missing_ok=True)
        last = (WEIGHTS_NAME, MANIFEST_NAME)
        names = sorted(path.name for path in scratch.iterdir() if path.name not in last)
        for name in (*names, *last):
            (scratch / name).replace(folder.out / name)
        scratch.rmdir()
    except OSError as error:
        msg = (
            f"{folder.out}: the model cannot be written ({error.strerror}): the checkpoint stands; "
            "make room and run the same command again"
        )
        raise TrainingError(msg) from error
    return manifest


def reconstructed(network: VqVae, patches: Tensor) -> NDArray[np.uint8]:
    """Reconstruct patches (n, side, side, 3) uint8 from their codes; same shape and type."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        pixels = network.reconstruct(patches.to(device)).cpu()
    scaled = ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(0, 2, 3, 1).numpy())


def _codewords(tensors: Mapping[str, Tensor], *, half: bool) -> NDArray[np.float64]:
    words = tensors["codebook.embedding.weight"]
    return np.asarray((words.half() if half else words).double().numpy())
