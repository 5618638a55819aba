"""Texture networks by name: from a Python package, or from their publisher."""

from __future__ import annotations

from pathlib import Path

from slidekin_models.errors import ManifestError
from slidekin_models.weights import directories
from slidekin_models.weights.directories import DENSENET121_SHA256_PREFIX
from slidekin_models.weights.download import Progress, PublishedFile, download
from slidekin_models.weights.manifest import TextureManifest
from slidekin_models.weights.packaged import PACKAGED

_DENSENET121_NAME = f"densenet121-{DENSENET121_SHA256_PREFIX}.pth"
DENSENET121 = PublishedFile(
    name=_DENSENET121_NAME,
    url=f"https://download.pytorch.org/models/{_DENSENET121_NAME}",
    sha256_prefix=DENSENET121_SHA256_PREFIX,
)
"""torchvision publishes only the first eight digits of a file's SHA-256, in its name."""

NAMES = ("densenet121", *PACKAGED)


def pull(
    name: str, directory: Path, *, url: str | None = None, progress: Progress | None = None
) -> TextureManifest:
    """Write the model directory of a network by name.

    Args:
        name: One of :data:`NAMES`.
        directory: The directory to write; a partial download is kept beside it.
        url: Another address of the same file, such as a site's own mirror.
        progress: Called as the download progresses.

    Raises:
        ManifestError: The name is unknown, or the directory is not empty.
        WeightsError: The download fails, or gives another file.
    """
    directories.require_free(directory)
    if name in PACKAGED:
        return directories.write_packaged_texture(directory, PACKAGED[name])
    if name != "densenet121":
        msg = f"no network is called {name!r} here; known are {', '.join(NAMES)}"
        raise ManifestError(msg)
    wanted = DENSENET121
    file = PublishedFile(wanted.name, url or wanted.url, wanted.sha256_prefix)
    checkpoint = download(file, directory.parent, progress=progress)
    manifest = directories.import_densenet121(checkpoint, directory)
    checkpoint.unlink()
    return manifest
