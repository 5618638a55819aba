"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from slidekin_models.errors import TrainingError
from slidekin_models.networks.vqvae import CODEBOOK_SIZE, VqVae
from slidekin_models.sampling import TissueSampler
from slidekin_models.training.batches import Batches
from slidekin_models.training.checkpoints import RunFolder
from slidekin_models.training.liveness import CodebookCare, perplexity
from slidekin_models.training.settings import TrainSettings

_LOG_EVERY = 10
_START_VECTORS = 8192
_MOST_START_BATCHES = 64
_LEAST_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop and what to save; no value changes the weights."""

    minutes: float | None = None
    """Duration of this session; the run can be resumed afterwards."""
    checkpoint_every: int = 200
    """Steps."""
    check_every: int = 200
    """Steps between two evaluations on held-out patches."""
    check_patches: int = 32
    stop_asked: Callable[[], bool] = field(default=lambda: False)
    """Called after every step."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run, for display."""

    step: int
    steps: int
    loss: float
    perplexity: float
    dead: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The network's figures on patches that training never saw."""

    patches: int
    recon_loss: float
    perplexity: float
    used: int
    """Number of codes that were chosen at all."""


class TrainingStep(nn.Module):
    """The network and its `CodebookCare` as one module, to place, share and save together."""

    def __init__(self, settings: TrainSettings) -> None:
        super().__init__()
        self.network = VqVae()
        self.care = CodebookCare(
            self.network.codebook, ema=settings.ema, restart=settings.restart, seed=settings.seed
        )
        if settings.ema:
            self.network.codebook.requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Loss, reconstruction loss, regularisation loss, encoder outputs, codes."""
        losses = self.network.losses(images)
        return losses.loss, losses.recon_loss, losses.reg_loss, losses.z, losses.codes


class Training:
    """One run, from its first step or from its newest checkpoint.

    Attributes:
        step: Number of steps done.
    """

    def __init__(
        self,
        settings: TrainSettings,
        folder: RunFolder,
        sampler: TissueSampler,
        accelerator: Accelerator,
    ) -> None:
        self._settings, self._folder, self._accelerator = settings, folder, accelerator
        self._batches = Batches(sampler, settings, accelerator.process_index)
        self._has_held_out = sampler.has_held_out()
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.manual_seed(settings.seed)
        whole = TrainingStep(settings).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained = [p for p in whole.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=settings.learning_rate)
        self._model, self._optimizer = accelerator.prepare(whole, optimizer)
        self._whole: TrainingStep = accelerator.unwrap_model(self._model)
        self.step = 0

    @property
    def network(self) -> VqVae:
        """The network in its current state."""
        return self._whole.network

    def resume(self) -> bool:
        """Load the newest checkpoint, if there is one; return whether there was."""
        newest = self._folder.newest()
        if newest is None:
            if self._accelerator.is_main_process:
                self._folder.metrics(up_to_step=-1)
            return False
        self.step, path = newest
        try:
            self._accelerator.load_state(str(path))
        except Exception as error:
            msg = f"{path}: the checkpoint cannot be read ({error}): remove it to go back further"
            raise TrainingError(msg) from error
        if self._accelerator.is_main_process:
            self._folder.metrics(up_to_step=self.step)
        return True

    def run(self, limits: Limits, watch: Callable[[Progress], None]) -> bool:
        """Train to the last step, or until a limit.

        Returns:
            Whether all steps are done.

        Raises:
            TrainingError: The loss is no longer a number, or a checkpoint cannot be written.
            SamplingError: A slide can no longer be read.
        """
        settings = self._settings
        began, first = time.monotonic(), self.step
        saved = self.step or None
        if self.step == 0 and settings.data_init:
            self._start_codebook()
        window: list[tuple[float, float, float]] = []
        restarted = 0
        self._model.train()
        for images in self._batches.from_step(self.step, settings.steps):
            losses, again = self._one_step(images)
            window.append(losses)
            restarted += again
            self.step += 1
            elapsed = time.monotonic() - began
            if self.step % _LOG_EVERY == 0 or self.step == settings.steps:
                self._log(window, restarted)
                each = elapsed / (self.step - first)
                watch(self._progress(window, each, elapsed, limits))
                window, restarted = [], 0
            if self._has_held_out and self.step % limits.check_every == 0:
                self._log_held_out(self.held_out(limits.check_patches))
            late = limits.minutes is not None and elapsed > limits.minutes * 60
            stop = self._agreed(stop=late or limits.stop_asked())
            if stop or self.step % limits.checkpoint_every == 0:
                self.save()
                saved = self.step
            if stop:
                break
        if saved != self.step:
            self.save()
        return self.step >= settings.steps

    def held_out(self, patches: int) -> HeldOut:
        """Measure reconstruction and codebook use on held-out patches, in evaluation mode."""
        self._model.eval()
        counts, loss = torch.zeros(CODEBOOK_SIZE), 0.0
        with torch.inference_mode():
            for images in self._batches.held_out(patches):
                losses = self.network.losses(images.to(self._accelerator.device))
                counts += torch.bincount(losses.codes.flatten().cpu(), minlength=CODEBOOK_SIZE)
                loss += float(losses.recon_loss) * len(images)
        self._model.train()
        return HeldOut(patches, loss / patches, perplexity(counts), int((counts > 0).sum()))

    def held_out_patches(self, count: int) -> Tensor:
        """Return patches that training never sees: (count, side, side, 3) uint8."""
        return torch.cat(list(self._batches.held_out(count)))

    def save(self) -> None:
        """Write a checkpoint of the steps done."""
        accelerator = self._accelerator
        if accelerator.num_processes == 1:
            self._folder.write(self.step, self._save_state)
            return
        # All processes write into one folder; the first process then renames it.
        if accelerator.is_main_process:
            self._folder.part(self.step).mkdir(exist_ok=True)
        accelerator.wait_for_everyone()
        self._save_state(self._folder.part(self.step))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self._folder.write(self.step, lambda _: None)
        accelerator.wait_for_everyone()

    def _save_state(self, part: Path) -> None:
        self._accelerator.save_state(str(part))

    def _one_step(self, images: Tensor) -> tuple[tuple[float, float, float], int]:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        loss, recon, reg, z, codes = self._model(images.to(self._accelerator.device))
        self._accelerator.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad()
        care, codebook = self._whole.care, self._whole.network.codebook
        again = care.after_step(codebook, z, codes, self.step, self._add_up)
        if again and self._accelerator.num_processes > 1:
            # Otherwise each process would take the vectors from its own batch.
            for tensor in (codebook.embedding.weight.data, care.counts, care.sums):
                tensor.copy_(broadcast(tensor))
        values = (float(loss.detach()), float(recon.detach()), float(reg.detach()))
        if not math.isfinite(values[0]):
            msg = (
                f"step {self.step}: the loss is no longer a number: begin again in another --out "
                "with a smaller --learning-rate"
            )
            raise TrainingError(msg)
        return values, again

    def _start_codebook(self) -> None:
        settings = self._settings
        per_batch = settings.batch * (settings.side_px // 16) ** 2
        count = min(_MOST_START_BATCHES, -(-_START_VECTORS // per_batch))
        outputs = []
        self._model.train()
        with torch.no_grad():
            for images in self._batches.from_step(0, count):
                losses = self.network.losses(images.to(self._accelerator.device))
                outputs.append(losses.z.cpu())
        codebook, care = self.network.codebook, self._whole.care
        care.start(codebook, torch.cat(outputs))
        if self._accelerator.num_processes > 1:
            for tensor in (codebook.embedding.weight.data, care.sums):
                tensor.copy_(broadcast(tensor))

    def _rate(self) -> float:
        settings = self._settings
        if settings.constant_rate:
            return settings.learning_rate
        done = self.step / settings.steps
        return settings.learning_rate * (
            _LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2
        )

    def _add_up(self, tensor: Tensor) -> Tensor:
        summed: Tensor = self._accelerator.reduce(tensor, reduction="sum")
        return summed

    def _agreed(self, *, stop: bool) -> bool:
        """Whether any process wants to stop: they must do so after the same step."""
        if self._accelerator.num_processes == 1:
            return stop
        flag = torch.tensor([float(stop)], device=self._accelerator.device)
        return bool(self._add_up(flag).item())

    def _log(self, window: list[tuple[float, float, float]], restarted: int) -> None:
        loss, recon, reg = (sum(part) / len(window) for part in zip(*window, strict=True))
        care = self._whole.care
        self._write(
            loss=loss,
            recon_loss=recon,
            reg_loss=reg,
            perplexity=care.perplexity(),
            dead=care.dead(),
            restarted=restarted,
            learning_rate=self._rate(),
        )

    def _log_held_out(self, found: HeldOut) -> None:
        self._write(
            held_out_recon_loss=found.recon_loss,
            held_out_perplexity=found.perplexity,
            held_out_used=found.used,
        )

    def _write(self, **figures: Any) -> None:  # noqa: ANN401
        if self._accelerator.is_main_process:
            self._folder.add_metrics({"step": self.step, **figures})

    def _progress(
        self,
        window: list[tuple[float, float, float]],
        each_s: float,
        elapsed_s: float,
        limits: Limits,
    ) -> Progress:
        left = (self._settings.steps - self.step) * each_s
        if limits.minutes is not None:
            left = min(left, max(0.0, limits.minutes * 60 - elapsed_s))
        care = self._whole.care
        loss = sum(losses[0] for losses in window) / len(window)
        return Progress(self.step, self._settings.steps, loss, care.perplexity(), care.dead(), left)
