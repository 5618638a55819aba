"""The file of API keys: it holds their hashes; commands change it and the service reads it.

A key is ``slidekin_ID_SECRET``. The secret has 256 random bits, so its hash needs neither salt nor
a slow function: those protect passwords, which can be guessed. The service hashes a key with every
call, and a slow function would give strangers a cheap way to keep the service busy.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slidekin_server.access.errors import AccessSetupError
from slidekin_server.access.private_files import private_folder, write_private
from slidekin_server.access.roles import Grant, Role

PREFIX = "slidekin_"
"""Begins every key: distinguishes it from a token, and lets scanners find a leaked one."""

_SCHEMA = 1
_KEY = re.compile(rf"{PREFIX}([a-z2-7]{{8}})_([A-Za-z0-9_-]{{43}})\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}\Z")
_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key without its secret."""

    key_id: str
    name: str
    """Of the identity ``key:NAME``. Several keys may share it while one replaces the other."""
    sha256: str
    """Of the whole key, in hex."""
    grants: tuple[Grant, ...]
    create_time: datetime
    expire_time: datetime | None = None
    revoke_time: datetime | None = None

    def matches(self, key: str) -> bool:
        """Whether this is the hash of a key; takes constant time."""
        return hmac.compare_digest(_hash(key), self.sha256)

    def state(self, now: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoke_time is not None:
            return "revoked"
        expired = self.expire_time is not None and self.expire_time <= now
        return "expired" if expired else "active"


def key_id(key: str) -> str | None:
    """Return the public part of a key; None if the text is not a key."""
    found = _KEY.match(key)
    return found[1] if found else None


class KeyFile:
    """The file of keys in the access folder.

    Args:
        folder: Created with the first key, readable by its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "keys.json"

    def create(
        self, name: str, grants: Sequence[Grant], *, expire_time: datetime | None = None
    ) -> tuple[StoredKey, str]:
        """Add a key; return it and its text, which is not stored.

        Raises:
            AccessSetupError: The name is not valid, or the file cannot be changed.
        """
        if not _NAME.match(name):
            raise AccessSetupError(
                f"{name!r} cannot name a key: 1 to 64 letters, digits, '.', '_', '@' or '-', the "
                "first a letter or digit"
            )
        with self._changing() as keys:
            taken = {key.key_id for key in keys}
            while (number := "".join(secrets.choice(_ID_LETTERS) for _ in range(8))) in taken:
                pass
            text = f"{PREFIX}{number}_{secrets.token_urlsafe(32)}"
            key = StoredKey(
                number, name, _hash(text), tuple(grants), datetime.now(UTC), expire_time
            )
            keys.append(key)
        return key, text

    def revoke(self, which: str) -> StoredKey:
        """Revoke the key with an id, or the only active one with a name.

        Raises:
            AccessSetupError: There is no such key or several, or the file cannot be changed.
        """
        with self._changing() as keys:
            now = datetime.now(UTC)
            found = [key for key in keys if key.key_id == which] or [
                key for key in keys if key.name == which and key.state(now) == "active"
            ]
            if not found:
                raise AccessSetupError(
                    f"there is no key {which!r}: `slidekin-server keys list` shows all"
                )
            if len(found) > 1:
                ids = ", ".join(key.key_id for key in found)
                raise AccessSetupError(f"{which!r} has several keys: name one by its id ({ids})")
            revoked = replace(found[0], revoke_time=found[0].revoke_time or now)
            keys[keys.index(found[0])] = revoked
        return revoked

    def read(self) -> list[StoredKey]:
        """Return all keys, oldest first; none if there is no file.

        Raises:
            AccessSetupError: The file cannot be read.
        """
        try:
            return parse(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AccessSetupError(f"{self.path} cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise AccessSetupError(
                f"{self.path} is no file of keys ({error}): bring back an older copy, or move it "
                "away and create keys anew"
            ) from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[StoredKey]]:
        """Yield the keys and write them back in one step or not at all; one command at a time."""
        try:
            private_folder(self._folder)
            # The folder itself is the lock: everybody who may change its content can open it.
            lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                keys = self.read()
                yield keys
                write_private(self.path, _text(keys).encode())
            finally:
                os.close(lock)
        except OSError as error:
            raise AccessSetupError(
                f"{self._folder} cannot be written ({error.strerror}): run the command as the "
                "user that the service runs as"
            ) from None


def parse(content: bytes) -> list[StoredKey]:
    """Read the file's content.

    Raises:
        ValueError: It is not a file of keys; says why.
    """
    try:
        stated = json.loads(content)
        if stated["schema"] != _SCHEMA:
            raise ValueError(f"schema {stated['schema']!r} is not {_SCHEMA}")
        return [_key(one) for one in stated["keys"]]
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _text(keys: Sequence[StoredKey]) -> str:
    stated = [
        {
            "id": key.key_id,
            "name": key.name,
            "sha256": key.sha256,
            "grants": [
                {"role": grant.role.text, "collections": grant.collections} for grant in key.grants
            ],
            "create_time": key.create_time.isoformat(),
            "expire_time": key.expire_time and key.expire_time.isoformat(),
            "revoke_time": key.revoke_time and key.revoke_time.isoformat(),
        }
        for key in keys
    ]
    return json.dumps({"schema": _SCHEMA, "keys": stated}, indent=2) + "\n"


def _key(stated: dict[str, Any]) -> StoredKey:
    return StoredKey(
        key_id=str(stated["id"]),
        name=str(stated["name"]),
        sha256=str(stated["sha256"]),
        grants=tuple(
            Grant(Role[str(one["role"]).upper()], str(one["collections"]))
            for one in stated["grants"]
        ),
        create_time=datetime.fromisoformat(stated["create_time"]),
        expire_time=_time(stated.get("expire_time")),
        revoke_time=_time(stated.get("revoke_time")),
    )


def _time(stated: str | None) -> datetime | None:
    return None if stated is None else datetime.fromisoformat(stated)
