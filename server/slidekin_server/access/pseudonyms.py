"""Names of patients and slides in the audit log: keyed hashes that stay the same over restarts.

Patients are few and their numbers follow patterns, so an unkeyed hash could be found by trying them
all. The key is stored apart from the log, so that a copy of the log reveals no names.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Final

from slidekin_server.access.errors import AccessSetupError
from slidekin_server.access.private_files import private_folder, write_private

PATIENT: Final = "patient"
SLIDE: Final = "slide"
KEY_FILE: Final = "audit.key"
_KEY_BYTES = 32


class Pseudonyms:
    """Hashes names with a key.

    Args:
        key: 32 secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, folder: Path) -> Pseudonyms:
        """Read the key from the access folder; create it if there is none yet.

        Raises:
            AccessSetupError: The key can be neither read nor created, or is not valid.
        """
        file = folder / KEY_FILE
        try:
            private_folder(folder)
            if not file.exists():
                write_private(file, secrets.token_bytes(_KEY_BYTES), once=True)
            return cls(_checked(file))
        except OSError as error:
            raise AccessSetupError(
                f"{file}, the key of hashes in the audit log, cannot be used ({error.strerror}): "
                "let the service write its folder, or set access.path"
            ) from None

    @classmethod
    def reading(cls, folder: Path) -> Pseudonyms:
        """Read the key that a service has created.

        Raises:
            AccessSetupError: There is none.
        """
        file = folder / KEY_FILE
        try:
            return cls(_checked(file))
        except OSError as error:
            raise AccessSetupError(
                f"{file} cannot be read ({error.strerror}): name the service's settings with "
                "--config, and run the command as the user that it runs as"
            ) from None

    def hash(self, kind: str, name: str) -> str:
        """Return the pseudonym of a name; the same name of another kind gets another one."""
        return hashlib.blake2b(
            name.encode(), key=self._key, person=kind.encode(), digest_size=16
        ).hexdigest()


def _checked(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise AccessSetupError(
            f"{file} is no key: bring back an older copy, or move it away, whereafter patients "
            "have other hashes than before"
        )
    return key
