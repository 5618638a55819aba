"""The model card: a page that describes a trained network and is kept with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slidekin_models.networks.semantic import OrderFigures
from slidekin_models.networks.vqvae import CODEBOOK_SIZE
from slidekin_models.training.run import HeldOut
from slidekin_models.training.settings import TrainSettings

_WHAT = (
    "A VQ-VAE (the encoder of SISH's keys), trained without labels by "
    "`slidekin-server models train`."
)
_NOT_FOR = (
    "Diagnosis, or any decision about a patient. The codes describe what tissue looks like; "
    "stains, scanners and organs that the training did not see may be described poorly."
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """The facts in a card."""

    name: str
    licence: str
    sources: Sequence[str]
    """Names of the slides and folders of tiles on which it was trained."""
    settings: TrainSettings
    step: int
    """How many of the settings' steps are done."""
    held_out: HeldOut | None
    orders: Mapping[str, OrderFigures] = field(default_factory=dict)
    """Each order that was made, and its figures."""
    order: str = ""
    """The order in the manifest."""


def card(facts: CardFacts) -> str:
    """Return the card as Markdown; pictures and weights are beside it."""
    settings = facts.settings
    means = [
        word
        for word, on in (
            ("codewords from data", settings.data_init),
            ("running means", settings.ema),
            ("restart of dead codewords", settings.restart),
        )
        if on
    ]
    lines = [
        f"# {facts.name}",
        "",
        _WHAT,
        "",
        f"- **Data:** {', '.join(facts.sources)}",
        f"- **Licence:** {facts.licence}",
        f"- **Training:** {_training(facts)}",
        f"- **Codebook kept alive by:** {', '.join(means) or 'nothing: the published loss alone'}",
        f"- **Augmentation:** {_augmentation(settings)}",
        f"- **Held out:** {_held_out(facts.held_out, settings)}",
        "",
        "## Semantic order",
        "",
        "| order | mean distance of neighbours | rank correlation with distance |",
        "|---|---|---|",
        *(_order_row(name, figures, facts.order) for name, figures in facts.orders.items()),
        "",
        "## Curves",
        "",
        "![Losses and use of the codebook](curves.png)",
        "",
        "## Held-out patches and their reconstructions",
        "",
        "![Originals above, reconstructions below](reconstructions.png)"
        if facts.held_out
        else "Nothing was held out.",
        "",
        "## Not for",
        "",
        _NOT_FOR,
        "",
    ]
    return "\n".join(lines)


def _training(facts: CardFacts) -> str:
    settings = facts.settings
    unfinished = f" of {settings.steps}" if facts.step < settings.steps else ""
    return (
        f"{facts.step}{unfinished} steps, {settings.batch * settings.processes} patches of "
        f"{settings.side_px} px at {settings.mpp:g} um per pixel each, Adam "
        f"{settings.learning_rate:g}, {settings.precision}, seed {settings.seed}"
    )


def _order_row(name: str, figures: OrderFigures, used: str) -> str:
    mark = " (in use)" if name == used else ""
    return f"| {name}{mark} | {figures.neighbour_distance:.3f} | {figures.rank_correlation:.2f} |"


def _augmentation(settings: TrainSettings) -> str:
    if not settings.augment:
        return "none"
    return (
        "flips, quarter turns, each stain's density times 1 plus or minus "
        f"{settings.stain_jitter:g}"
    )


def _held_out(found: HeldOut | None, settings: TrainSettings) -> str:
    if found is None:
        return "nothing"
    what = "of each slide" if settings.hold_out_by == "region" else "of the slides"
    return (
        f"{settings.held_out_share:.0%} {what} and tiles; on {found.patches} patches of it "
        f"perplexity {found.perplexity:.1f} of {CODEBOOK_SIZE}, {found.used} codes used, "
        f"reconstruction error {found.recon_loss:.4f} (pixels from -1 to 1)"
    )
