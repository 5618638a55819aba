"""What an evaluation raises beside the SDK's own errors."""

from __future__ import annotations

from slidekin._exceptions import SlidekinError


class EvaluationError(SlidekinError):
    """Nothing can be measured on these slides or tiles; the message says why, and the cure."""
