"""Download a published file of weights: resumable, and checked before it is used.

Proxies and certificates are taken from the usual environment: ``HTTPS_PROXY``, ``HTTP_PROXY``,
``ALL_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx

from slidekin_models.errors import WeightsError
from slidekin_models.weights.files import sha256_of

_NOT_SATISFIABLE = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
# A later attempt may succeed after these; anything else is final.
_PASSING = frozenset(
    [
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    ]
)

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes received, and the total if the server states it."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file whose name and digest are public."""

    name: str
    url: str
    sha256_prefix: str
    """The first digits of its SHA-256, as many as its publisher states."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep trying."""

    attempts: int = 4
    """Attempts in a row without a single byte; each byte that arrives resets the count."""
    first_pause_s: float = 1.0
    """Doubles with every further attempt."""
    longest_pause_s: float = 30.0
    connect_timeout_s: float = 20.0
    read_timeout_s: float = 60.0


class _AgainError(Exception):
    """This attempt failed, and a later one may succeed; the text says how it failed."""


def download(
    file: PublishedFile,
    folder: Path,
    *,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> Path:
    """Download ``file`` to ``folder``; a partial file from an earlier run is continued.

    Args:
        file: The file.
        folder: The folder to write to; the name of a partial file ends in ``.part``.
        progress: Called as bytes arrive.
        patience: How long to keep trying.

    Returns:
        The path of the complete file, whose digest is right.

    Raises:
        WeightsError: The download fails, or gives another file; names the cure.
    """
    whole = folder / file.name
    if whole.is_file() and _is(whole, file):
        return whole
    part = folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        resumed = part.is_file() and part.stat().st_size > 0
        _fetch(file, part, progress or _silent, patience or Patience())
        if resumed and not _is(part, file):
            # The partial file may belong to another file, or be damaged: start from the beginning.
            part.unlink()
            _fetch(file, part, progress or _silent, patience or Patience())
        if not _is(part, file):
            found = sha256_of(part)
            part.unlink()
            msg = (
                f"{file.url}: gave another file: its SHA-256 begins with {found[:8]}, not "
                f"{file.sha256_prefix}; it was thrown away. A proxy or mirror may answer in its "
                "place: fetch it by another road, and use models import"
            )
            raise WeightsError(msg)
        part.rename(whole)
    except OSError as error:
        msg = f"{part}: cannot be written: {error.strerror}: make room, or name another --out"
        raise WeightsError(msg) from error
    return whole


def _fetch(file: PublishedFile, part: Path, progress: Progress, patience: Patience) -> None:
    """Complete ``part``."""
    timeout = httpx.Timeout(patience.read_timeout_s, connect=patience.connect_timeout_s)
    failures = 0
    # The client takes proxies and certificates from the environment by itself.
    with httpx.Client(follow_redirects=True, timeout=timeout) as client:
        while True:
            before = _size(part)
            try:
                _continue(client, file.url, part, progress)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                msg = f"{file.url}: not an address of a file: {error}"
                raise WeightsError(msg) from error
            except (_AgainError, httpx.RequestError) as error:
                failures = 0 if _size(part) > before else failures + 1
                if failures >= patience.attempts:
                    raise WeightsError(_unreachable(file, part, error)) from error
                pause_s = patience.first_pause_s * 2 ** max(0, failures - 1)
                time.sleep(min(pause_s, patience.longest_pause_s))
            else:
                return


def _continue(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Request the missing bytes once.

    Raises:
        WeightsError: The server refuses permanently.
        _AgainError: The server does not answer now, or sent less than announced.
        httpx.TransportError: The server cannot be reached, or the connection broke.
    """
    have = _size(part)
    # With compression, the length of the partial file would not tell where to continue.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == _NOT_SATISFIABLE and have:
            if _total(answer) == have:
                return
            part.unlink()
            msg = f"{have} bytes are here, which the server does not know how to continue"
            raise _AgainError(msg)
        if answer.status_code in _PASSING:
            msg = f"the server answers {answer.status_code} {answer.reason_phrase}"
            raise _AgainError(msg)
        if not answer.is_success:
            msg = (
                f"{url}: the server answers {answer.status_code} {answer.reason_phrase}: fetch "
                "the file by another road, and use models import"
            )
            raise WeightsError(msg)
        goes_on = answer.status_code == HTTPStatus.PARTIAL_CONTENT and _start(answer) == have
        if answer.status_code == HTTPStatus.PARTIAL_CONTENT and not goes_on:
            part.unlink()
            msg = "the server continues at another place than asked for"
            raise _AgainError(msg)
        # A server without range requests sends the whole file, which replaces the partial one.
        total = _total(answer) if goes_on else _length(answer)
        with part.open("ab" if goes_on else "wb") as out:
            done = have if goes_on else 0
            progress(done, total)
            # Write bytes as they arrive: fixed chunks would lose a rest if the connection breaks.
            for chunk in answer.iter_bytes():
                out.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done < total:
        msg = f"the connection ended after {done} of {total} bytes"
        raise _AgainError(msg)


def _unreachable(file: PublishedFile, part: Path, error: Exception) -> str:
    host = httpx.URL(file.url).host
    kept = (
        f" {_size(part)} bytes are kept in {part}, and continued next time." if _size(part) else ""
    )
    return (
        f"{file.name}: cannot be fetched from {host} ({error}).{kept} Behind a proxy, set "
        "HTTPS_PROXY, and SSL_CERT_FILE where it has certificates of its own. Without "
        f"a network, fetch {file.url} on another machine, bring the file here "
        f"and give it to 'slidekin-server models import {file.name}'"
    )


def _is(path: Path, file: PublishedFile) -> bool:
    return sha256_of(path).startswith(file.sha256_prefix)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _length(answer: httpx.Response) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _start(answer: httpx.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total(answer: httpx.Response) -> int | None:
    found = re.search(r"/(\d+)$", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _silent(done: int, total: int | None) -> None:
    """Report nothing."""
