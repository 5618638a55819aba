from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.drawing.draw import draw_slide

from slidekin_models.errors import SamplingError
from slidekin_models.sampling import SampleSettings, TissueSampler

SIDE_PX = 2048


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed, pattern in enumerate(("glands", "lymphoid")):
        draw_slide(
            folder / f"{pattern}.tiff", pattern, seed=seed, width_px=SIDE_PX, height_px=SIDE_PX
        )
    return folder


def write_tiles(folder: Path, count: int, side_px: int = 96, suffix: str = "png") -> Path:
    """Tiles of one grey value each, by which they are known again."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (side_px, side_px), (i, i, i)).save(folder / f"tile{i}.{suffix}")
    return folder


def test_patches_have_the_side_asked_for_and_show_tissue(slides: Path) -> None:
    for side_px in (64, 176):
        sampler = TissueSampler([slides], SampleSettings(side_px=side_px))
        for patch in sampler.patches(20):
            assert (patch.shape, patch.dtype) == ((side_px, side_px, 3), np.uint8)
            saturation = patch.max(axis=2).astype(int) - patch.min(axis=2)
            assert (saturation > 8).mean() > 0.3


def test_a_patch_depends_on_files_settings_and_its_number_alone(slides: Path) -> None:
    settings = SampleSettings(side_px=64, seed=3)
    one_by_one = list(TissueSampler([slides], settings).patches(24))
    again = TissueSampler([slides], settings)
    with ThreadPoolExecutor(4) as threads:
        backwards = list(threads.map(again.patch, reversed(range(24))))[::-1]
    np.testing.assert_array_equal(one_by_one, backwards)
    np.testing.assert_array_equal(one_by_one[10:], list(again.patches(14, start=10)))
    assert len({patch.tobytes() for patch in one_by_one}) == 24
    other = TissueSampler([slides], SampleSettings(side_px=64, seed=4))
    assert not np.array_equal(one_by_one, list(other.patches(24)))


def test_both_slides_are_drawn_from(slides: Path) -> None:
    whole = TissueSampler([slides], SampleSettings(side_px=64))
    assert whole.sources == ("glands.tiff", "lymphoid.tiff")
    alone = {
        patch.tobytes()
        for name in whole.sources
        for patch in TissueSampler([slides / name], SampleSettings(side_px=64)).patches(1)
    }
    assert len(alone) == 2


def test_the_resolution_of_a_patch_is_the_one_asked_for(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[None, :, None], (128, 128, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    for mpp, step in ((0.5, 1.0), (1.0, 2.0)):
        settings = SampleSettings(side_px=32, mpp=mpp, tile_mpp=0.5)
        patch = TissueSampler([tmp_path], settings).patch(0)
        assert np.diff(patch[16, 4:-4, 0].astype(float)).mean() == pytest.approx(step, abs=0.1)
    whole = TissueSampler([tmp_path], SampleSettings(side_px=64, tile_mpp=None)).patch(0)
    assert np.ptp(whole[32, :, 0]) > 120


def test_what_is_held_out_is_never_trained_on(slides: Path) -> None:
    settings = SampleSettings(side_px=64, held_out_share=0.3)
    sampler = TissueSampler([slides / "glands.tiff"], settings)
    source = sampler._sources[0]
    drawn, held = (source._boxes[part] for part in (False, True))
    assert drawn is not None
    assert held is not None
    assert (drawn[0], drawn[1], held[2], held[3]) == (0, 0, SIDE_PX, SIDE_PX)
    assert drawn[3] == held[1]
    share = source.tissue_mm2(held_out=True) / (
        source.tissue_mm2(held_out=True) + source.tissue_mm2(held_out=False)
    )
    assert share == pytest.approx(0.3, abs=0.03)
    with Image.open(slides / "glands.tiff") as image:
        below = np.asarray(image.convert("RGB"))[held[1] :]
    for patch in sampler.patches(6):
        assert not _contains(below, patch[:, :1])
    for patch in sampler.patches(6, held_out=True):
        assert _contains(below, patch[:, :1])


def _contains(image: np.ndarray, column: np.ndarray) -> bool:
    """Whether a column of pixels stands somewhere in the image, to the exactness of JPEG."""
    height = len(column)
    for top in range(len(image) - height + 1):
        window = image[top : top + height]
        near = np.abs(window[::9].astype(int) - column[::9]).max(axis=(0, 2)) < 3
        if near.any():
            return True
    return False


def test_the_split_does_not_depend_on_seed_or_side(slides: Path) -> None:
    boxes = [
        TissueSampler([slides], SampleSettings(side_px=side, seed=seed, held_out_share=0.4))
        ._sources[0]
        ._boxes
        for side, seed in ((32, 0), (256, 9))
    ]
    assert boxes[0] == boxes[1]


def test_tiles_are_held_out_whole_and_stay_on_their_side(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", 20)
    settings = SampleSettings(side_px=32, held_out_share=0.25)
    sampler = TissueSampler([folder], settings)
    seen = {
        held: {int(patch[0, 0, 0]) for patch in sampler.patches(200, held_out=held)}
        for held in (False, True)
    }
    assert len(seen[True]) == 5
    assert seen[False] | seen[True] == set(range(20))
    assert not seen[False] & seen[True]
    again = TissueSampler([folder], SampleSettings(side_px=64, held_out_share=0.25, seed=5))
    assert {int(p[0, 0, 0]) for p in again.patches(200, held_out=True)} == seen[True]


def test_whole_slides_can_be_held_out(slides: Path) -> None:
    settings = SampleSettings(side_px=64, held_out_share=0.5, hold_out_by="slide")
    sampler = TissueSampler([slides], settings)
    areas = [
        [source.tissue_mm2(held_out=held) > 0 for source in sampler._sources]
        for held in (False, True)
    ]
    assert sorted(areas[0]) == [False, True]
    assert areas[1] == [not drawn for drawn in areas[0]]


def test_tiles_may_be_tiff_and_jpeg(tmp_path: Path) -> None:
    write_tiles(tmp_path, 2, suffix="tif")
    write_tiles(tmp_path, 2, suffix="jpg")
    sampler = TissueSampler([tmp_path], SampleSettings(side_px=96))
    assert sampler.sources == (tmp_path.name,)
    assert {round(int(p[0, 0, 0])) for p in sampler.patches(30)} == {0, 1}
    assert not sampler.skipped


def test_one_bad_file_does_not_keep_the_others_from_use(slides: Path, tmp_path: Path) -> None:
    (tmp_path / "good.tiff").symlink_to(slides / "glands.tiff")
    (tmp_path / "broken.svs").write_bytes(b"II*\0 and no more")
    (tmp_path / "notes.txt").write_text("not looked at")
    draw_slide(tmp_path / "unknown.tiff", "glands", width_px=512, height_px=512, mpp=None)
    sampler = TissueSampler([tmp_path], SampleSettings(side_px=64))
    assert sampler.sources == ("good.tiff",)
    assert [line.split(":")[0] for line in sampler.skipped] == [
        str(tmp_path / "broken.svs"),
        str(tmp_path / "unknown.tiff"),
    ]
    told = SampleSettings(side_px=64, slide_mpp={"unknown.tiff": 0.5})
    assert TissueSampler([tmp_path], told).sources == ("good.tiff", "unknown.tiff")


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamplingError, match="neither slides nor image tiles"):
        TissueSampler([tmp_path], SampleSettings())
    with pytest.raises(SamplingError, match="no such file or folder"):
        TissueSampler([tmp_path / "nowhere"], SampleSettings())


def test_glass_without_tissue_is_named(tmp_path: Path) -> None:
    draw_slide(tmp_path / "glass.tiff", "glands", width_px=1024, height_px=1024, tissue_px=(0, 0))
    with pytest.raises(SamplingError, match=r"glass\.tiff: no tissue found"):
        TissueSampler([tmp_path], SampleSettings(side_px=64))


def test_patches_larger_than_all_there_is_are_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path, 3)
    with pytest.raises(SamplingError, match=r"96 x 96 px at 0\.5 um .* patch of 128 px"):
        TissueSampler([tmp_path], SampleSettings(side_px=128))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side_px": 100}, "multiple of 16"),
        ({"side_px": 0}, "multiple of 16"),
        ({"held_out_share": 1.0}, "held_out_share"),
        ({"mpp": 264.0}, "mpp: 264"),
        ({"tile_mpp": 0.0}, "tile_mpp"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        SampleSettings(**change)
