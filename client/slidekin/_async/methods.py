"""What the groups of methods of `AsyncClient` stand on."""

from __future__ import annotations

from slidekin._async.caller import AsyncCaller


class AsyncMethods:
    """Methods that call through one caller, which the client makes."""

    _caller: AsyncCaller
