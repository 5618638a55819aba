"""Files and folders that are their owner's alone: the service's, also where root makes them.

Root may run the commands; the service, which is not root, must be able to read what they make.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def private_folder(folder: Path) -> None:
    """Make a folder where it is missing, for the owner of the one that it lies in.

    Raises:
        OSError: It cannot be made.
    """
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        above = folder.parent.stat()
        os.chown(folder, above.st_uid, above.st_gid)


def write_private(file: Path, content: bytes, *, once: bool = False) -> None:
    """Write a file in one step, for the owner of its folder.

    Args:
        file: Replaced where it is there.
        content: What it is to hold.
        once: Leave one that is there as it is.

    Raises:
        OSError: It cannot be written.
    """
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123  by its descriptor
            if os.geteuid() == 0:
                folder = file.parent.stat()
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        if once:
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
        else:
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
