"""Bytes, and bytes a little off."""

from __future__ import annotations

import random
import struct
import zlib

_EDGES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0")
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_GROWTH = 4096


class Mutator:
    """Changes bytes as its seed has it."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def mutate(self, data: bytes) -> bytes:
        """Bytes with one to four changes."""
        made = bytearray(data)
        for _ in range(self._chance.choice((1, 1, 1, 2, 4))):
            self._change(made)
        return bytes(made)

    def mutate_picture(self, data: bytes) -> bytes:
        """The same for an image file: a PNG's checksums are mostly right again afterwards."""
        made = self.mutate(data)
        return restored(made) if self._chance.random() < 0.8 else made

    def _change(self, data: bytearray) -> None:
        chance = self._chance
        place = chance.randint(0, len(data))
        length = min(chance.choice((1, 1, 2, 4, 8, 64)), len(data) - place)
        match chance.randrange(7):
            case 0 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                data[place : place + length] = chance.randbytes(length)
            case 2:
                data[place:place] = chance.choice(_EDGES)
            case 3:
                del data[place : place + length]
            case 4:
                del data[place:]
            case 5 if len(data) < _MAX_GROWTH:
                data[place:place] = data[: chance.randint(0, len(data))]
            case _:
                data[place : place + length] = (chance.choice(_EDGES) * length)[:length]


def restored(data: bytes) -> bytes:
    """A PNG with the checksums that its chunks should have; other bytes as they are."""
    if not data.startswith(_PNG):
        return data
    made, place = bytearray(_PNG), len(_PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        body = data[place + 4 : place + 8 + length]
        if len(body) < length + 4:
            break
        made += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return bytes(made + data[place:])
