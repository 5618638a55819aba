"""The measures of one answer: majority vote and average precision of its first k labels.

As the SISH paper has them (Chen et al. 2022, doi 10.1038/s41551-022-00929-8).
"""

from __future__ import annotations

from collections.abc import Sequence


def majority_label(labels: Sequence[str], k: int) -> str | None:
    """The label that the first k results vote for; None where there is no valid vote.

    Of equally common labels the one that stands nearest the top wins. An answer of fewer than k
    results votes only where its most common label has at least ceil(k / 2) votes; an empty one
    does not.

    Args:
        labels: Of the results, best first.
        k: Results that vote. >= 1.
    """
    first = labels[:k]
    if not first:
        return None
    # max takes the first of equals, and dict keeps the order of first appearance.
    counts = {label: first.count(label) for label in dict.fromkeys(first)}
    winner = max(counts, key=counts.__getitem__)
    if len(first) < k and counts[winner] < (k + 1) // 2:
        return None
    return winner


def average_precision(labels: Sequence[str], own: str, k: int) -> float:
    """Sum of the precisions at those of the first k ranks that hold the right label, over k.

    What a short answer lacks counts as wrong.

    Args:
        labels: Of the results, best first.
        own: The right label.
        k: Ranks that count. >= 1.
    """
    right = 0
    total = 0.0
    for rank, label in enumerate(labels[:k], start=1):
        if label == own:
            right += 1
            total += right / rank
    return total / k
