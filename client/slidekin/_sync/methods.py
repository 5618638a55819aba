"""What the groups of methods of `Client` stand on."""

from __future__ import annotations

from slidekin._sync.caller import Caller


class Methods:
    """Methods that call through one caller, which the client makes."""

    _caller: Caller
