"""API keys in the running service: look-up, and the time of each key's last use."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from slidekin_server.access.errors import AccessSetupError, UnauthenticatedError
from slidekin_server.access.key_file import KeyFile, StoredKey, key_id
from slidekin_server.access.private_files import write_private
from slidekin_server.telemetry import get_logger

_USE_KEPT_EVERY = timedelta(seconds=10)

_log = get_logger(__name__)


class KeyRing:
    """The keys that the service accepts.

    Keys are looked up in memory. ``refresh`` loads what commands changed, and saves when keys were
    used: at most every ten seconds, and to a separate file, so that only the commands change the
    keys.

    Args:
        folder: The access folder.

    Raises:
        AccessSetupError: The file of keys cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._file = KeyFile(folder)
        self._use = LastUse(folder)
        self._seen = self._stamp()
        self._keys = {key.key_id: key for key in self._file.read()}

    def find(self, text: str) -> StoredKey:
        """Return the stored key for the text of a key.

        Raises:
            UnauthenticatedError: The key is not accepted. Only a caller with the right secret is
                told why.
        """
        number = key_id(text)
        key = self._keys.get(number or "")
        if key is None or not key.matches(text):
            raise UnauthenticatedError(
                "the API key is not known here: ask for one made by `slidekin-server keys create`",
                reason="API_KEY_UNKNOWN",
            )
        now = datetime.now(UTC)
        state = key.state(now)
        if state != "active":
            raise UnauthenticatedError(
                f"the API key {key.key_id} of {key.name} is {state}: ask for a new one made by "
                "`slidekin-server keys create`",
                reason=f"API_KEY_{state.upper()}",
            )
        self._use.note(key.key_id, now)
        return key

    def __len__(self) -> int:
        return len(self._keys)

    def refresh(self) -> None:
        """Load what commands changed; save the last uses. Blocks; never raises."""
        stamp = self._stamp()
        if stamp != self._seen:
            try:
                self._keys = {key.key_id: key for key in self._file.read()}
                _log.info("api keys read", count=len(self._keys))
            except AccessSetupError:
                # The known keys stay valid: a damaged file must not lock everybody out.
                _log.error("api keys unreadable", exc_info=True)
            self._seen = stamp
        self._use.save()

    def close(self) -> None:
        """Save the last uses."""
        self._use.save(at_once=True)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            state = self._file.path.stat()
        except OSError:
            return None
        return state.st_ino, state.st_ctime_ns, state.st_size


class LastUse:
    """When each key was last used: a file beside the keys, written only by the service."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keys-used.json"
        self._times = self.read(folder)
        self._changed = False
        self._saved = datetime.min.replace(tzinfo=UTC)

    @staticmethod
    def read(folder: Path) -> dict[str, str]:
        """Return the times, in ISO 8601, by the keys' ids; none if there is nothing to read."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            stated = json.loads((folder / "keys-used.json").read_text(encoding="utf-8"))
            if isinstance(stated, Mapping):
                return {str(number): str(time) for number, time in stated.items()}
        return {}

    def note(self, number: str, time: datetime) -> None:
        """Record a use."""
        self._times[number] = time.isoformat(timespec="seconds")
        self._changed = True

    def save(self, *, at_once: bool = False) -> None:
        """Write the times if they changed and the last write is some time ago."""
        now = datetime.now(UTC)
        if not self._changed or (now - self._saved < _USE_KEPT_EVERY and not at_once):
            return
        self._changed = False
        self._saved = now
        try:
            text = json.dumps(dict(self._times), indent=2) + "\n"
            write_private(self._path, text.encode())
        except OSError:
            # The disk is full, say: the time of a use is not worth a refused call.
            _log.warning("last uses of api keys not written", exc_info=True)
