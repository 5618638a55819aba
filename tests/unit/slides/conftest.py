from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.drawing import DrawnSlide, draw_slide

from slidekin.slides import Slide, open_slide


@pytest.fixture(scope="session")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawings")


@pytest.fixture(scope="session")
def drawn(drawings: Path) -> DrawnSlide:
    """A section of one pattern: two by two patches."""
    return draw_slide(drawings / "glands.tiff", "glands", seed=7)


@pytest.fixture(scope="session")
def drawn_large(drawings: Path) -> DrawnSlide:
    """A section of two patterns: about a hundred patches."""
    return draw_slide(
        drawings / "large.tiff",
        ("stroma", "lymphoid"),
        seed=3,
        width_px=13_000,
        height_px=10_000,
        tissue_px=(12_000, 9_000),
    )


@pytest.fixture(scope="session")
def empty(drawings: Path) -> Path:
    """Glass and nothing on it."""
    return draw_slide(drawings / "empty.tiff", "stroma", tissue_px=(0, 0)).path


@pytest.fixture
def slide(drawn: DrawnSlide) -> Iterator[Slide]:
    with open_slide(drawn.path) as opened:
        yield opened


@pytest.fixture
def large(drawn_large: DrawnSlide) -> Iterator[Slide]:
    with open_slide(drawn_large.path) as opened:
        yield opened


@pytest.fixture
def redrawn(tmp_path: Path) -> Callable[..., Path]:
    """Draws a slide of the test's own."""

    def draw(name: str = "slide.tiff", pattern: str = "lymphoid", **options: object) -> Path:
        return draw_slide(tmp_path / name, pattern, **options).path  # type: ignore[arg-type]

    return draw
