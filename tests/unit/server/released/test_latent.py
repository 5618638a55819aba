from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tests.published_release import ORDER, PublishedRelease, codes_for, drawn_patches, text_of

from slidekin_server.codes import keys_from_codes
from slidekin_server.released.errors import ReleaseError, SlideRefusedError
from slidekin_server.released.latent import MAX_PATCHES, digest_files, find_slides, read_slide
from slidekin_server.values import PatchCodes

PATCHES = drawn_patches(5, seed=1)


@pytest.fixture
def release(tmp_path: Path) -> PublishedRelease:
    release = PublishedRelease(tmp_path)
    release.add("s", PATCHES)
    return release


def read(release: PublishedRelease, slide: str = "s") -> PatchCodes:
    return read_slide(find_slides(release.latent)[slide], ORDER)


def test_codes_are_drawn_for_any_key():
    keys = drawn_patches(200, seed=3).keys
    assert keys_from_codes(codes_for(keys), ORDER).tolist() == keys.tolist()


def test_a_slide_is_read_in_the_order_of_its_files(release: PublishedRelease):
    patches = read(release)
    assert patches.keys.tolist() == PATCHES.keys.tolist()
    assert patches.textures.tolist() == PATCHES.textures.tolist()
    assert patches.xy.tolist() == PATCHES.xy.tolist()


def test_textures_may_be_lists_of_numbers(release: PublishedRelease):
    bits = [np.unpackbits(texture).tolist() for texture in PATCHES.textures]
    release.write_textures("s", [[float(bit) for bit in row] for row in bits[:2]] + bits[2:])
    assert read(release).textures.tolist() == PATCHES.textures.tolist()


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i8", ">u4"])
def test_codes_may_be_any_whole_numbers(dtype: str, release: PublishedRelease):
    release.write_codes("s", codes_for(PATCHES.keys).astype(dtype), PATCHES.xy.astype("<i8"))
    assert read(release).keys.tolist() == PATCHES.keys.tolist()


def test_slides_of_all_groups_are_found(release: PublishedRelease):
    release.add("t", PATCHES, group="other")
    assert sorted(find_slides(release.latent)) == ["s", "t"]


def test_one_name_in_two_groups_is_refused(release: PublishedRelease):
    release.add("s", PATCHES, group="other")
    with pytest.raises(ReleaseError, match="one name"):
        find_slides(release.latent)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.write_text("")])
def test_a_folder_without_slides_is_refused(make: Any, tmp_path: Path):
    make(tmp_path / "LATENT")
    with pytest.raises(ReleaseError, match="name the folder LATENT"):
        find_slides(tmp_path / "LATENT")


@pytest.mark.parametrize("what", ["codes", "textures", "group"])
def test_a_link_that_leads_out_is_refused(what: str, release: PublishedRelease, tmp_path: Path):
    path = {
        "codes": release.codes_file("s"),
        "textures": release.textures_file("s"),
        "group": release.latent / "site",
    }[what]
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(ReleaseError, match="leads out"):
        find_slides(release.latent)


def test_a_link_inside_the_tree_is_followed(release: PublishedRelease):
    release.codes_file("t").symlink_to(release.codes_file("s"))
    release.textures_file("t").symlink_to(release.textures_file("s"))
    assert read(release, "t").keys.tolist() == PATCHES.keys.tolist()


def test_a_pipe_is_refused_and_not_waited_for(release: PublishedRelease):
    path = release.textures_file("s")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SlideRefusedError, match="no regular file"):
        read(release)


def test_missing_textures_are_refused(release: PublishedRelease):
    release.textures_file("s").unlink()
    with pytest.raises(SlideRefusedError, match="No such file"):
        read(release)


@pytest.mark.parametrize(
    ("textures", "reason"),
    [
        ([text_of(t) for t in PATCHES.textures[:4]], "holds 4 textures, and its codes are of 5"),
        ([text_of(PATCHES.textures[0])[:-1] + str(n % 2) for n in range(6)], "holds more textures"),
        (["0" * 1023], "patch 0"),
        (["2" * 1024], "patch 0"),
        ([[0.5] * 1024], "patch 0"),
        ([["0"] * 1024], "patch 0"),
        ([7] * 5, "patch 0"),
        ({"a": 1}, "no list"),
        (np.zeros((5, 1024)), "no list|instruction"),
        ([np.zeros(1024)], "instruction"),
    ],
)
def test_other_textures_are_refused(textures: Any, reason: str, release: PublishedRelease):
    release.write_textures("s", textures)
    with pytest.raises(SlideRefusedError, match=reason):
        read(release)


def rewrite(release: PublishedRelease, **datasets: Any) -> h5py.File:
    path = release.codes_file("s")
    path.unlink()
    file = h5py.File(path, "w")
    for name, data in datasets.items():
        file.create_dataset(name, data=data)
    return file


CODES = codes_for(PATCHES.keys)


@pytest.mark.parametrize(
    ("datasets", "reason"),
    [
        ({}, "shape .n, 64, 64."),
        ({"a": CODES}, "the coordinates"),
        ({"b": PATCHES.xy}, "the codes"),
        ({"a": CODES, "b": PATCHES.xy, "c": CODES}, "holds 2 of that kind"),
        ({"a": CODES.astype("f4"), "b": PATCHES.xy}, "float32"),
        ({"a": CODES, "b": PATCHES.xy.astype("f8")}, "float64"),
        ({"a": CODES.reshape(5, -1), "b": PATCHES.xy}, "the codes"),
        ({"a": CODES[None], "b": PATCHES.xy}, "the codes"),
        ({"a": CODES, "b": PATCHES.xy[:4]}, "codes of 5 patches and coordinates of 4"),
        ({"a": CODES[:0], "b": PATCHES.xy[:0]}, "holds 0 patches"),
        ({"a": np.full_like(CODES, 128), "b": PATCHES.xy}, r"codes 128\.\.128; they must lie"),
        ({"a": -CODES.astype("i2"), "b": PATCHES.xy}, "must lie"),
        ({"a": CODES, "b": PATCHES.xy.astype("i8") - 10**6}, "coordinates"),
        ({"a": CODES, "b": PATCHES.xy.astype("i8") + 2**40}, "coordinates"),
        ({"a": "text", "b": 5}, "the codes"),
    ],
)
def test_other_codes_are_refused(datasets: Any, reason: str, release: PublishedRelease):
    rewrite(release, **datasets).close()
    with pytest.raises(SlideRefusedError, match=reason):
        read(release)


@pytest.mark.parametrize("name", ["a", "other"])
@pytest.mark.parametrize("link", [h5py.SoftLink("/x"), h5py.ExternalLink("secret.h5", "/x")])
def test_links_inside_the_file_are_refused(name: str, link: Any, release: PublishedRelease):
    with rewrite(release, b=PATCHES.xy, x=CODES) as file:
        file[name] = link
    with pytest.raises(SlideRefusedError, match="link"):
        read(release)


def test_values_in_another_file_are_refused(release: PublishedRelease, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(CODES.nbytes))
    with rewrite(release, b=PATCHES.xy) as file:
        file.create_dataset(
            "a", CODES.shape, dtype="u1", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
        )
    with pytest.raises(SlideRefusedError, match="other files"):
        read(release)


def test_a_virtual_dataset_is_refused(release: PublishedRelease, tmp_path: Path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = CODES
    with rewrite(release, b=PATCHES.xy) as file:
        layout = h5py.VirtualLayout(CODES.shape, dtype="u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", CODES.shape)
        file.create_virtual_dataset("a", layout)
    with pytest.raises(SlideRefusedError, match="other files"):
        read(release)


@pytest.mark.parametrize("count", [MAX_PATCHES + 1, 2**40])
def test_a_file_that_claims_many_patches_is_refused(count: int, release: PublishedRelease):
    with rewrite(release) as file:
        file.create_dataset("a", (count, 64, 64), dtype="u1", chunks=(1, 64, 64))
        file.create_dataset("b", (count, 2), dtype="i4", chunks=(1, 2))
    with pytest.raises(SlideRefusedError, match=f"holds {count} patches"):
        read(release)


def test_huge_chunks_are_refused(release: PublishedRelease):
    with rewrite(release, b=PATCHES.xy) as file:
        file.create_dataset(
            "a", CODES.shape, dtype="u1", chunks=(100_000, 64, 64), maxshape=(None, 64, 64)
        )
    with pytest.raises(SlideRefusedError, match="chunks"):
        read(release)


def test_a_file_of_many_entries_is_refused(release: PublishedRelease):
    with rewrite(release, a=CODES, b=PATCHES.xy) as file:
        for number in range(100):
            file.create_group(str(number))
    with pytest.raises(SlideRefusedError, match="entries"):
        read(release)


def test_damage_is_refused_and_named(release: PublishedRelease):
    path = release.codes_file("s")
    whole = path.read_bytes()
    for data in (b"", b"text", whole[:100], whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(SlideRefusedError, match=r"s\.h5 is damaged"):
            read(release)


def test_single_wrong_bytes_are_refused_or_read_and_nothing_else(release: PublishedRelease):
    path = release.codes_file("s")
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(SlideRefusedError):
            read(release)


def test_the_digest_is_of_both_files(release: PublishedRelease):
    files = find_slides(release.latent)["s"]
    first = digest_files(files)
    assert digest_files(files) == first
    whole = files.textures.read_bytes()
    files.textures.write_bytes(whole.replace(b"0101", b"1010", 1))
    assert digest_files(files) != first
    files.textures.write_bytes(whole)
    assert digest_files(files) == first
    files.codes.write_bytes(files.codes.read_bytes() + b"\0")
    assert digest_files(files) != first


def test_a_hostile_pickle_in_the_tree_calls_nothing(release: PublishedRelease, tmp_path: Path):
    class Calling:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    release.textures_file("s").write_bytes(pickle.dumps([Calling()]))
    with pytest.raises(SlideRefusedError, match="nothing of it was run"):
        read(release)
    assert not (tmp_path / "made").exists()
