"""Roles, and the collections in which an identity has them."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

ALL_COLLECTIONS: Final = "*"

# Part of a collection's name. fnmatch has more wildcards than ``*``; this admits none of them.
_PATTERN = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*-]{0,127}\Z")


class Role(enum.IntEnum):
    """What an identity may do; each includes those before it. The numbers are the contract's."""

    READER = 1
    WRITER = 2
    ADMIN = 3

    @property
    def text(self) -> str:
        """The spelling in settings and messages."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in some collections."""

    role: Role
    collections: str
    """A collection's id; ``*`` stands for any characters."""

    def __post_init__(self) -> None:
        if not _PATTERN.match(self.collections):
            raise ValueError(
                f"{self.collections!r} names no collections: letters, digits, '.', '_', '-', and "
                "'*' for any characters"
            )


@dataclass(frozen=True, slots=True)
class Grants:
    """All grants of an identity."""

    held: tuple[Grant, ...] = ()

    def allow(self, role: Role, collection: str) -> bool:
        """Whether they include a role in a collection."""
        return any(
            grant.role >= role and fnmatchcase(collection, grant.collections) for grant in self.held
        )

    def allow_everywhere(self, role: Role) -> bool:
        """Whether they include a role in all collections, including future ones."""
        return any(
            grant.role >= role and grant.collections == ALL_COLLECTIONS for grant in self.held
        )

    def allow_somewhere(self, role: Role) -> bool:
        """Whether they include a role in any collection."""
        return any(grant.role >= role for grant in self.held)


EVERYTHING: Final = Grants((Grant(Role.ADMIN, ALL_COLLECTIONS),))


class GrantTable:
    """The roles that the settings give to identities.

    Args:
        entries: Patterns of identities (``*`` stands for any characters) and their grants.
    """

    def __init__(self, entries: Iterable[tuple[str, Grant]]) -> None:
        self._entries = [
            (re.compile(".*".join(re.escape(part) for part in pattern.split("*"))), grant)
            for pattern, grant in entries
        ]

    def of(self, names: Iterable[str], *, beside: Iterable[Grant] = ()) -> Grants:
        """Return the grants of a caller with these names."""
        listed = list(names)
        granted = [
            grant
            for pattern, grant in self._entries
            if any(pattern.fullmatch(name) for name in listed)
        ]
        return Grants((*beside, *granted))


_current: ContextVar[Grants] = ContextVar("grants")
_NOTHING = Grants()


def current_grants() -> Grants:
    """Return the grants of the current call's caller; none outside of a call."""
    return _current.get(_NOTHING)


def may_read(collection: str) -> bool:
    """Whether the current call's caller may know of a collection."""
    return current_grants().allow(Role.READER, collection)


def set_grants(grants: Grants) -> None:
    """Set the caller's grants, until the current task ends."""
    _current.set(grants)
