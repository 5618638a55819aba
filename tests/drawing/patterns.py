"""Four tissue patterns as seamless textures, stained with haematoxylin and eosin.

A texture repeats without a seam, so any window of any size can be cut from it. Concentrations of
the two stains are drawn first; colours follow from Beer and Lambert's law with the absorption of
haematoxylin (Ruifrok and Johnston, 2001) and of a rather pink eosin, varied a little from seed to
seed as from laboratory to laboratory. Sizes are those of a section at 0.5 um per pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

Field = NDArray[np.float32]

SIDE_PX = 1216
"""Not a multiple of a patch: neighbouring patches never show the same window."""

GLASS = (244, 243, 245)
"""What the scanner sees where there is nothing."""

_HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
_EOSIN = np.array([0.10, 0.86, 0.40])


def texture(pattern: str, seed: int) -> NDArray[np.uint8]:
    """Draw a pattern: (`SIDE_PX`, `SIDE_PX`, 3), RGB, seamless; the same for the same seed.

    Raises:
        ValueError: Not one of `PATTERNS`.
    """
    if pattern not in _DRAW:
        raise ValueError(f"the patterns are {', '.join(PATTERNS)}; there is no {pattern!r}")
    rng = np.random.default_rng([seed, PATTERNS.index(pattern)])
    haematoxylin, eosin = _DRAW[pattern](rng)
    strength = rng.uniform(0.92, 1.08, 2)
    blue = _HAEMATOXYLIN * rng.uniform(0.97, 1.03, 3) * strength[0]
    pink = _EOSIN * rng.uniform(0.97, 1.03, 3) * strength[1]
    density = haematoxylin[..., None] * blue.astype(np.float32)
    density += eosin[..., None] * pink.astype(np.float32)
    grain = rng.normal(0, 1.2, density.shape).astype(np.float32)
    colours = np.array(GLASS, np.float32) * np.exp(-np.maximum(density, 0)) + grain
    return np.clip(colours, 0, 255).astype(np.uint8)


def _glands(rng: np.random.Generator) -> tuple[Field, Field]:
    """Tubes cut across: pale lumen, a ring of nuclei at the base, loose stroma between."""
    centres = _scatter(rng, spacing_px=203, jitter=0.16)
    nearest, _ = _distances(centres)
    radius = nearest + 9 * _noise(rng, 40)
    haematoxylin, eosin = _fibres(rng, 0.55, 0.22)
    inside, lumen = _below(radius, 84, 2), _below(radius, 30, 2)
    eosin = eosin * (1 - inside) + inside * (0.52 + 0.08 * _noise(rng, 3))
    haematoxylin = haematoxylin * (1 - inside) + inside * 0.22
    eosin, haematoxylin = eosin * (1 - lumen) + 0.07 * lumen, haematoxylin * (1 - lumen)
    ring, angles = [], []
    for centre in centres:
        turn = np.arange(0, 2 * np.pi, 13 / 72) + rng.uniform(0, 1)
        reach = 71 + rng.normal(0, 2.5, len(turn))
        ring.append(centre + reach[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1))
        angles.append(turn)
    nuclei = _nuclei(rng, np.concatenate(ring), np.concatenate(angles), length=8.5, width=5)
    loose = _scatter(rng, spacing_px=48, jitter=0.5)
    row, column = (loose.astype(int) % SIDE_PX).T
    loose = loose[nearest[row, column] > 98]
    nuclei = np.maximum(nuclei, _nuclei(rng, loose, None, length=9, width=3.5))
    return _chromatin(rng, haematoxylin, nuclei, 1.35), eosin


def _stroma(rng: np.random.Generator) -> tuple[Field, Field]:
    """Wavy collagen, pink, with few spindle-shaped nuclei and clefts between bundles."""
    haematoxylin, eosin = _fibres(rng, 0.85, 0.4)
    spindles = _scatter(rng, spacing_px=62, jitter=0.5)
    angles = rng.normal(0, 0.25, len(spindles))
    nuclei = _nuclei(rng, spindles, angles, length=13, width=2.8)
    return _chromatin(rng, haematoxylin, nuclei, 1.3), eosin


def _lymphoid(rng: np.random.Generator) -> tuple[Field, Field]:
    """Sheets of small round dark nuclei with hardly any cytoplasm."""
    cells = _scatter(rng, spacing_px=15.4, jitter=0.2)
    nuclei = _nuclei(rng, cells, None, length=6.3, width=5.7)
    eosin = 0.34 + 0.08 * _noise(rng, 4)
    haematoxylin = 0.3 + 0.08 * _noise(rng, 30)
    return _chromatin(rng, haematoxylin, nuclei, 1.55), eosin


def _adipose(rng: np.random.Generator) -> tuple[Field, Field]:
    """Fat: large empty cells between thin membranes, a flat nucleus here and there."""
    centres = _scatter(rng, spacing_px=121, jitter=0.22)
    nearest, second = _distances(centres)
    border = second - nearest + 1.5 * _noise(rng, 12)
    membrane = _below(border, 7, 2.5)
    eosin = 0.1 + 0.02 * _noise(rng, 60) + 0.62 * membrane
    flat = _scatter(rng, spacing_px=30, jitter=0.5)
    row, column = (flat.astype(int) % SIDE_PX).T
    flat = flat[border[row, column] < 4]
    flat = flat[rng.random(len(flat)) < 0.3]
    nuclei = _nuclei(rng, flat, None, length=8, width=3)
    return _chromatin(rng, 0.05 * membrane, nuclei, 1.2), eosin


_DRAW: dict[str, Callable[[np.random.Generator], tuple[Field, Field]]] = {
    "glands": _glands,
    "stroma": _stroma,
    "lymphoid": _lymphoid,
    "adipose": _adipose,
}
PATTERNS = tuple(_DRAW)


def noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: tuple[float, float]) -> Field:
    """Seamless smooth noise, mean 0 and deviation 1, of these grain sizes (rows, columns)."""
    white = np.fft.rfft2(rng.standard_normal(shape, np.float32))
    rows = np.fft.fftfreq(shape[0])[:, None] * scale_px[0]
    columns = np.fft.rfftfreq(shape[1]) * scale_px[1]
    smooth = np.fft.irfft2(white * np.exp(-2 * (rows**2 + columns**2)), shape)
    smooth -= smooth.mean()
    return (smooth / smooth.std()).astype(np.float32)


def _noise(rng: np.random.Generator, rows_px: float, columns_px: float | None = None) -> Field:
    return noise(rng, (SIDE_PX, SIDE_PX), (rows_px, columns_px or rows_px))


def _fibres(rng: np.random.Generator, level: float, contrast: float) -> tuple[Field, Field]:
    """Stain of collagen: streaks along the rows, bent by a wave."""
    streaks = _noise(rng, 5, 110) + 0.6 * _noise(rng, 16, 160)
    bend = np.rint(26 * _noise(rng, 130)).astype(np.intp)
    rows = (np.arange(SIDE_PX)[:, None] + bend) % SIDE_PX
    streaks = streaks[rows, np.arange(SIDE_PX)]
    eosin = np.clip(level + contrast * 0.6 * streaks, 0.1, None)
    cleft = _below(-streaks, -2.1, 0.25)
    return np.full_like(eosin, 0.06), eosin * (1 - 0.85 * cleft)


def _scatter(rng: np.random.Generator, spacing_px: float, jitter: float) -> NDArray[np.float64]:
    """Points (row, column) of a shaken honeycomb that repeats without a seam."""
    rows = 2 * round(SIDE_PX / spacing_px / np.sqrt(0.75) / 2)
    columns = round(SIDE_PX / spacing_px)
    row, column = np.mgrid[:rows, :columns].astype(float)
    column += 0.5 * (row % 2)
    points = np.stack([row * SIDE_PX / rows, column * SIDE_PX / columns], -1).reshape(-1, 2)
    return (points + rng.normal(0, jitter * spacing_px, points.shape)) % SIDE_PX


def _distances(centres: NDArray[np.float64]) -> tuple[Field, Field]:
    """Distance of each pixel to the nearest and the second nearest centre, across the seam."""
    half = SIDE_PX // 2  # smooth fields: drawn at half size, then enlarged
    pixels = (np.stack(np.mgrid[:half, :half], -1).reshape(-1, 2) + 0.5) * 2
    found, _ = cKDTree(centres, boxsize=SIDE_PX).query(pixels, k=2)
    return _enlarge(found[:, 0].reshape(half, half)), _enlarge(found[:, 1].reshape(half, half))


def _enlarge(field: NDArray[np.float64]) -> Field:
    image = Image.fromarray(np.pad(field, 2, mode="wrap").astype(np.float32))
    whole = np.asarray(image.resize((image.width * 2, image.height * 2), Image.Resampling.BILINEAR))
    return whole[4:-4, 4:-4]


def _below(field: Field, limit: float, soft: float) -> Field:
    """1 below the limit, 0 above, with a soft edge."""
    return 1 / (1 + np.exp(np.clip((field - limit) / soft, -30, 30)))


def _nuclei(
    rng: np.random.Generator,
    centres: NDArray[np.float64],
    angles: NDArray[np.float64] | None,
    *,
    length: float,
    width: float,
) -> Field:
    """Ellipses of half axes ``length`` and ``width`` pixels (a fifth more or less), 0 to 1."""
    reach = int(1.4 * length) + 2
    field = np.zeros((SIDE_PX + 2 * reach, SIDE_PX + 2 * reach), np.float32)
    count = len(centres)
    if angles is None:
        angles = rng.uniform(0, np.pi, count)
    sizes = rng.uniform(0.8, 1.2, (count, 2)) * (length, width)
    depth = rng.uniform(0.75, 1, count)
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    corners = np.floor(centres).astype(int) % SIDE_PX
    for (top, left), angle, (long, wide), dark in zip(corners, angles, sizes, depth, strict=True):
        along = (across * np.cos(angle) + down * np.sin(angle)) / long
        aside = (down * np.cos(angle) - across * np.sin(angle)) / wide
        ellipse = np.clip((1.12 - np.sqrt(along**2 + aside**2)) * wide / 1.6, 0, 1) * dark
        window = field[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
        np.maximum(window, ellipse, out=window)
    inner = field[reach:-reach, reach:-reach]
    # What sticks out on one side comes in on the other.
    inner[:reach] = np.maximum(inner[:reach], field[-reach:, reach:-reach])
    inner[-reach:] = np.maximum(inner[-reach:], field[:reach, reach:-reach])
    inner[:, :reach] = np.maximum(inner[:, :reach], field[reach:-reach, -reach:])
    inner[:, -reach:] = np.maximum(inner[:, -reach:], field[reach:-reach, :reach])
    return inner


def _chromatin(rng: np.random.Generator, haematoxylin: Field, nuclei: Field, dark: float) -> Field:
    """Add nuclei with clumped chromatin to a field of haematoxylin."""
    return haematoxylin + nuclei * (dark + 0.22 * _noise(rng, 2.5))
