"""Slides drawn for tests, the demo and the benchmark: H&E-like tissue in pyramidal TIFF files."""

from tests.drawing.draw import DrawnSlide, draw_collection, draw_slide
from tests.drawing.patterns import PATTERNS

__all__ = ["PATTERNS", "DrawnSlide", "draw_collection", "draw_slide"]
