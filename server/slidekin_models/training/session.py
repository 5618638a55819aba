"""One session of a run: from settings to a model directory."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator

from slidekin_models.sampling import TissueSampler
from slidekin_models.training.card import CardFacts
from slidekin_models.training.checkpoints import RunFolder
from slidekin_models.training.display import Display
from slidekin_models.training.export import Stored, export_model
from slidekin_models.training.run import HeldOut, Limits, Training
from slidekin_models.training.settings import TrainSettings
from slidekin_models.weights.manifest import VqVaeManifest

_PICTURES = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a session."""

    finished: bool
    """Whether all steps are done."""
    step: int
    held_out: HeldOut | None
    manifest: VqVaeManifest | None
    """None on all processes except the first."""


def train(
    settings: TrainSettings,
    out: Path,
    *,
    name: str,
    licence: str,
    stored: Stored,
    limits: Limits,
    cpu: bool = False,
    threads: int = 0,
    held_out_patches: int = 256,
) -> Outcome:
    """Train, or continue training, and write the model directory.

    SIGINT and SIGTERM end the session after the current step, with a checkpoint.

    Args:
        settings: Of the run; ``processes`` is set to the actual number.
        out: The model directory; it contains the run's own folder.
        name: Name of the model.
        licence: Licence of its weights.
        stored: How the weights are written.
        limits: Of this session.
        cpu: Use the CPU even if there is a GPU.
        threads: Threads of operators on the CPU; 0: torch's choice.
        held_out_patches: Number of patches for the card's figures.

    Raises:
        TrainingError: The run cannot start or continue.
        SamplingError: There is nothing to train on.
    """
    if threads:
        torch.set_num_threads(threads)
    precision = {"bf16": "bf16", "fp32": "no"}[settings.precision]
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision)
    settings = settings.model_copy(update={"processes": accelerator.num_processes})
    folder = RunFolder(out)
    display = Display(quiet=not accelerator.is_main_process)
    with _claimed(folder, settings, accelerator), _stopping() as stopping, display:
        sampler = TissueSampler(settings.slides, settings.sampling(), progress=display.say)
        for reason in sampler.skipped:
            display.say(f"passed over: {reason}")
        training = Training(settings, folder, sampler, accelerator)
        if training.resume():
            display.say(f"going on after step {training.step}")
        finished = training.run(replace(limits, stop_asked=lambda: bool(stopping)), display.show)
        held_out = patches = manifest = None
        if accelerator.is_main_process:
            if sampler.has_held_out():
                held_out = training.held_out(held_out_patches)
                patches = training.held_out_patches(_PICTURES)
            facts = CardFacts(
                name=name,
                licence=licence,
                sources=sampler.sources,
                settings=settings,
                step=training.step,
                held_out=held_out,
            )
            manifest = export_model(folder, training.network, facts, stored, patches)
        accelerator.wait_for_everyone()
    return Outcome(finished, training.step, held_out, manifest)


@contextmanager
def _claimed(
    folder: RunFolder, settings: TrainSettings, accelerator: Accelerator
) -> Iterator[None]:
    """Lock the folder; the first process does it for all."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    with folder.claimed(settings):
        accelerator.wait_for_everyone()
        yield


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Yield a list that is no longer empty once a signal has requested the end."""
    asked: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _: asked.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
