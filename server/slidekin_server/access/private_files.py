"""Files and folders that only their owner, the service, can read, even if root creates them.

Root may run the commands; the service, which is not root, must be able to read what they write.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def private_folder(folder: Path) -> None:
    """Create a folder if it is missing; it belongs to the owner of its parent folder.

    Raises:
        OSError: It cannot be created.
    """
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0:
        above = folder.parent.stat()
        os.chown(folder, above.st_uid, above.st_gid)


def write_private(file: Path, content: bytes, *, once: bool = False) -> None:
    """Write a file in one step; it belongs to the owner of its folder.

    Args:
        file: The file; replaced if it exists.
        content: Its content.
        once: If it exists, leave it unchanged.

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
