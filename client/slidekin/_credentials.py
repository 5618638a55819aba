"""What a client shows to say who is calling, and where it may be shown."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
from collections.abc import Awaitable, Callable
from typing import TypeAlias

Metadata: TypeAlias = tuple[tuple[str, str], ...]
Token: TypeAlias = str | Callable[[], str]
AsyncToken: TypeAlias = str | Callable[[], str | Awaitable[str]]


class Credential:
    """An API key or a token, or nothing, to go with every call.

    Args:
        api_key: An API key.
        token: A bearer token, or what returns one.
        target: Of the service.
        encrypted: Whether calls travel encrypted.
        plaintext: Show it all the same where they do not, and leave this machine.

    Raises:
        ValueError: Both are given, or it would be shown to whoever listens on the way.
    """

    def __init__(
        self,
        api_key: str | None,
        token: AsyncToken | None,
        *,
        target: str,
        encrypted: bool,
        plaintext: bool,
    ) -> None:
        if api_key is not None and token is not None:
            raise ValueError("give either api_key or token")
        self._source = token if api_key is None else api_key
        if self._source is None or encrypted or plaintext or is_local(target):
            return
        raise ValueError(
            f"the way to {target} is not encrypted, and whoever listens there could take the key "
            "or token: give tls, or plaintext_credentials=True where something else closes the way"
        )

    def headers(self) -> Metadata:
        """The header that shows it; a function is asked for its token."""
        if self._source is None:
            return ()
        stated = self._source if isinstance(self._source, str) else self._source()
        if not isinstance(stated, str):
            raise TypeError("the token's function must return a string; AsyncClient awaits one")
        return _header(stated)

    async def headers_async(self) -> Metadata:
        """Likewise; a function that returns an awaitable is awaited, any other runs in a thread."""
        if self._source is None or isinstance(self._source, str):
            return self.headers()
        if inspect.iscoroutinefunction(self._source):
            return _header(await self._source())
        stated = await asyncio.to_thread(self._source)
        return _header(stated if isinstance(stated, str) else await stated)


def is_local(target: str) -> bool:
    """Whether calls to a target stay on this machine, as far as its name says it for certain."""
    scheme, separator, rest = target.partition(":")
    if scheme in {"unix", "unix-abstract"}:
        return True
    if separator and scheme in {"dns", "ipv4", "ipv6"}:
        target = rest.rpartition("/")[2]
    return all(_is_loopback(one) for one in target.split(","))


def _is_loopback(address: str) -> bool:
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    else:
        host = address.rpartition(":")[0] if address.count(":") == 1 else address
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _header(credential: str) -> Metadata:
    if not credential.isascii() or not credential.isprintable():
        # gRPC would say "metadata was invalid", and which.
        raise ValueError("the API key or token holds characters that none has")
    return (("authorization", f"Bearer {credential}"),)
