"""Turn the lines of a run into the tables of docs/evaluation.md.

``python -m tests.bench.tiles.report docs/evaluation/run.jsonl``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.page import fill_parts
from tests.paths import PROJECT

DOCUMENT = PROJECT / "docs" / "evaluation.md"
KS = ("1", "3", "5")
Line = dict[str, Any]
_SETTING_KEYS = ("order", "bits", "threshold_percent", "walk", "seed_key")


def main() -> None:
    (name,) = sys.argv[1:]
    lines = [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]
    parts = {
        "machine": machine(lines),
        "representations": representations(lines),
        "held out": held_out(lines),
        "distances": distances(lines),
        "rankings": rankings(lines, "tiles"),
        "originals": rankings(lines, "originals"),
        "marginals": marginals(lines),
        "chosen": chosen(lines),
        "halves": halves(lines, "hybrid"),
        "parts": setting_parts(lines),
        "halves of the walk": halves(lines, "guided"),
    }
    fill_parts(DOCUMENT, parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    every = [head, [*["---"] * texts, *["--:"] * (len(head) - texts)], *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in every)


def machine(lines: Sequence[Line]) -> str:
    facts = lines[0]["machine"]
    return (
        f"{facts['cores']} cores of {facts['processor']}, {facts['memory_gib']} GiB, no GPU, "
        f"{facts['system']}, Python {facts['python']}; {lines[0]['tiles']} tiles."
    )


def representations(lines: Sequence[Line]) -> str:
    rows = [
        [line["name"], *_scores(line), f"{line['overall_mMV']['1']['value']:.2f}", _against(line)]
        for line in lines
        if line.get("kind") == "representation"
    ]
    return table(["compared by", *_HEAD, "P@1", "mAP@5 beyond the histogram"], rows)


def held_out(lines: Sequence[Line]) -> str:
    rows = [
        [line["name"], *_scores(line), _against(line)]
        for line in lines
        if line.get("kind") == "held out"
    ]
    return table(["compared by", *_HEAD, "mAP@5 beyond the histogram"], rows)


def distances(lines: Sequence[Line]) -> str:
    (line,) = (line for line in lines if line.get("kind") == "distances")
    near, pairs = line["nearest"], line["all_pairs"]
    return (
        f"Nearest neighbours among the {line['name']} textures lie {near['10']:.0f} bits apart "
        f"(10th percentile), {near['50']:.0f} (median), {near['90']:.0f} (90th); of all pairs "
        f"1 % lie within {pairs['1']:.0f} bits, 5 % within {pairs['5']:.0f}, 15 % within "
        f"{pairs['15']:.0f}, half within {pairs['50']:.0f}."
    )


def rankings(lines: Sequence[Line], which: str) -> str:
    rows = []
    for line in lines:
        if line.get("kind") != "ranking" or line["tiles"] != which:
            continue
        histogram = line["name"].startswith("RGB")
        networks = "" if histogram else f"{line['texture']}, {line['vqvae']}"
        row = [
            line["name"],
            networks,
            *_scores(line),
            f"{100 * line['short']['value']:.0f} %",
            _against(line),
        ]
        if row not in rows:
            rows.append(row)
    return table(
        ["profile and mode", "networks", *_HEAD, "fewer than 5", "mAP@5 beyond the histogram"],
        rows,
        texts=2,
    )


def marginals(lines: Sequence[Line]) -> str:
    """For every value of a setting: the best and the mean that any combination with it reached."""
    rows = []
    for key in _SETTING_KEYS:
        tried = [line for line in lines if line.get("kind") == "setting"]
        for value in sorted({json.dumps(line[key]) for line in tried}, key=_numeric):
            row = [_KEY_NAMES[key], _value(key, json.loads(value))]
            for mode in ("hybrid", "guided"):
                reached = [
                    line["mAP5"]
                    for line in tried
                    if line["mode"] == mode and json.dumps(line[key]) == value
                ]
                row += [f"{max(reached):.3f}", f"{sum(reached) / len(reached):.3f}"]
            rows.append(row)
    return table(
        ["setting", "value", "HYBRID, best", "HYBRID, mean", "GUIDED, best", "GUIDED, mean"],
        rows,
        texts=2,
    )


def chosen(lines: Sequence[Line]) -> str:
    told = []
    for line in lines:
        if line.get("kind") == "chosen":
            values = "; ".join(
                f"{_KEY_NAMES[key]}: {_value(key, line[key])}" for key in _SETTING_KEYS
            )
            told.append(
                f"- {line['mode'].upper()}: chosen among {line['tried']} settings, "
                f"{line['equals']} of them equally good, with the VQ-VAE {line['vqvae']}: {values}."
            )
    return "\n".join(told)


def halves(lines: Sequence[Line], mode: str) -> str:
    rows = [
        [
            f"{line['half']} half, {line['name']}",
            *_scores(line),
            _signed(line["mAP5_against_current"]),
            _signed(line["mMV5_against_current"]),
        ]
        for line in lines
        if line.get("kind") == "half" and line["mode"] == mode
    ]
    return table(["half and setting", *_HEAD, "mAP@5 beyond current", "mMV@5 beyond current"], rows)


def setting_parts(lines: Sequence[Line]) -> str:
    rows = [
        [
            f"{line['queries']} tiles, {line['vqvae']}",
            line["name"],
            _interval(line["mMV5"]),
            _interval(line["mAP5"]),
            _signed(line["mAP5_against_current"]),
        ]
        for line in lines
        if line.get("kind") == "part"
    ]
    return table(
        ["tiles and VQ-VAE", "setting", "mMV@5", "mAP@5", "mAP@5 beyond current"], rows, texts=2
    )


_HEAD = [*(f"mMV@{k}" for k in KS), "mAP@3", "mAP@5"]
_KEY_NAMES = {
    "order": "key order",
    "bits": "texture bits",
    "threshold_percent": "threshold",
    "walk": "walk (spacing, seeds a side, steps)",
    "seed_key": "seed's own key",
}


def _scores(line: Line) -> list[str]:
    votes = [_interval(line["mMV"][k]) for k in KS]
    return [*votes, *(_interval(line["mAP"][k]) for k in ("3", "5"))]


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.2f}-{estimate['high']:.2f})"


def _against(line: Line) -> str:
    return _signed(line["mAP5_against_histogram"])


def _signed(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['value']:+.3f} ({estimate['low']:+.2f} to {estimate['high']:+.2f})"


def _value(key: str, value: Any) -> str:
    if key == "threshold_percent":
        return f"{value:.1f} %"
    if key == "walk":
        return ", ".join(map(str, value))
    if key == "seed_key":
        return "looked at" if value else "not looked at"
    return str(value)


def _numeric(text: str) -> tuple[float, str]:
    value = json.loads(text)
    return (float(value) if isinstance(value, int | float) else 0.0, text)


if __name__ == "__main__":
    main()
