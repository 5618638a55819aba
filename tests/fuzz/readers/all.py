"""Every reader by its name."""

from __future__ import annotations

from tests.fuzz.readers import Reader, files, images, packed, slides, texts

READERS: dict[str, Reader] = {
    **images.READERS,
    **slides.READERS,
    **files.READERS,
    **packed.READERS,
    **texts.READERS,
}
