"""Small files that ask for much work or memory: refused before it is done, or harmless."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image
from tests.service_process import service_environment
from tests.unit.server.made_bundles import picture
from tests.unit.server.test_images import LIMITS, chunk, refusal

from slidekin_models.decoding import decode_patch
from slidekin_models.errors import ImageRefusedError as DecoderRefusedError
from slidekin_server.encoding import ImageFormat, PatchImage, check_image

JPEG, PNG = ImageFormat.JPEG, ImageFormat.PNG
INFLATED_BYTES = 1_000_000_000
_HEADER_BYTES = 33
"""Of a PNG file: its signature and the chunk IHDR."""


def many_scans(count: int, *, edge: int = 1024) -> bytes:
    """A progressive JPEG whose last scan, of 33 bytes or so, comes again and again."""
    file = io.BytesIO()
    Image.new("L", (edge, edge), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    end = data.rindex(b"\xff\xd9")
    last = data[data.rindex(b"\xff\xda") : end]
    return data[:end] + last * count + data[end:]


def with_chunk(kind: bytes, before: bytes) -> bytes:
    """A PNG with a chunk that grows to a gigabyte."""
    packer = zlib.compressobj(9)
    block = bytes(10_000_000)
    packed = b"".join(packer.compress(block) for _ in range(INFLATED_BYTES // len(block)))
    data = picture()
    bomb = chunk(kind, before + packed + packer.flush())
    return data[:_HEADER_BYTES] + bomb + data[_HEADER_BYTES:]


def test_a_progressive_file_of_many_scans_is_refused_before_the_first() -> None:
    bomb = many_scans(100_000)
    assert len(bomb) < LIMITS.max_bytes
    assert "more than 32 scans" in refusal(PatchImage(JPEG, bomb))
    with pytest.raises(DecoderRefusedError, match="scans"):
        decode_patch(bomb)


def test_a_progressive_file_as_programs_write_it_is_taken() -> None:
    data = many_scans(0)
    assert data.count(b"\xff\xda") > 1
    check_image(PatchImage(JPEG, data), LIMITS)
    assert decode_patch(data).shape == (1024, 1024, 3)


@pytest.mark.parametrize(
    ("kind", "before"),
    [(b"iCCP", b"x\0\0"), (b"zTXt", b"x\0\0"), (b"iTXt", b"x\0\1\0\0\0")],
)
def test_a_chunk_that_grows_to_a_gigabyte_is_not_unpacked(
    kind: bytes, before: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(with_chunk(kind, before))
    # In a process that may not have the memory: it would die of it.
    program = """
import resource, sys
from pathlib import Path
from slidekin_models.decoding import decode_patch
from slidekin_models.errors import ImageRefusedError
from slidekin_server.encoding import ImageFormat, ImageLimits, PatchImage, check_image
from slidekin_server.encoding import ImageRefusedError as Refused
data = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for look in (
    lambda: check_image(PatchImage(ImageFormat.PNG, data), ImageLimits(8_000_000, 4096 * 4096)),
    lambda: decode_patch(data),
):
    try:
        look()
    except (ImageRefusedError, Refused) as error:
        print(type(error).__name__)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(file)],
        env=service_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    *refused, grown_kib = ended.stdout.split()
    assert refused == ["ImageRefusedError"] * 2
    assert int(grown_kib) < 100_000


def test_of_an_animated_file_the_first_picture_alone_is_looked_at() -> None:
    file = io.BytesIO()
    colours = [Image.new("RGB", (64, 64), (number, 0, 0)) for number in range(200)]
    colours[0].save(file, "PNG", save_all=True, append_images=colours[1:])
    check_image(PatchImage(PNG, file.getvalue()), LIMITS)
    assert decode_patch(file.getvalue()).max() == 0


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "WEBP", "JPEG2000"])
def test_no_other_format_is_opened_under_a_false_name(kind: str) -> None:
    data = picture(64, 64, kind)
    for stated in (JPEG, PNG):
        assert f"no {stated.value} image" in refusal(PatchImage(stated, data))
    with pytest.raises(DecoderRefusedError):
        decode_patch(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_file_cut_short_is_refused_by_the_decoder(kind: str) -> None:
    data = picture(kind=kind)
    with pytest.raises(DecoderRefusedError, match="truncated or damaged"):
        decode_patch(data[: len(data) // 2])


def test_a_header_that_promises_more_than_comes_costs_nothing() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4096, 4096, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(DecoderRefusedError):
        decode_patch(data)
