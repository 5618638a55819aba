"""Roles, and for which collections an identity has them."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

ALL_COLLECTIONS: Final = "*"

# A part of the names that collections may have: fnmatch knows more signs, which none of these are.
_PATTERN = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*-]{0,127}\Z")


class Role(enum.IntEnum):
    """What an identity may do; each includes those before it. The numbers are the contract's."""

    READER = 1
    WRITER = 2
    ADMIN = 3

    @property
    def text(self) -> str:
        """As it is written in settings and messages."""
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
    """Everything that an identity may do."""

    held: tuple[Grant, ...] = ()

    def allow(self, role: Role, collection: str) -> bool:
        """Whether they include a role in a collection."""
        return any(
            grant.role >= role and fnmatchcase(collection, grant.collections) for grant in self.held
        )

    def allow_everywhere(self, role: Role) -> bool:
        """Whether they include a role in all collections, those to come among them."""
        return any(
            grant.role >= role and grant.collections == ALL_COLLECTIONS for grant in self.held
        )

    def allow_somewhere(self, role: Role) -> bool:
        """Whether they include a role in any collection."""
        return any(grant.role >= role for grant in self.held)


EVERYTHING: Final = Grants((Grant(Role.ADMIN, ALL_COLLECTIONS),))


class GrantTable:
    """Which identities the settings give which roles.

    Args:
        entries: Patterns of identities (``*`` stands for any characters) and what they may do.
    """

    def __init__(self, entries: Iterable[tuple[str, Grant]]) -> None:
        self._entries = [
            (re.compile(".*".join(re.escape(part) for part in pattern.split("*"))), grant)
            for pattern, grant in entries
        ]

    def of(self, names: Iterable[str], *, beside: Iterable[Grant] = ()) -> Grants:
        """Return what somebody of these names may do."""
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
    """Return what the caller of the call under way may do; nothing where nobody was asked."""
    return _current.get(_NOTHING)


def may_read(collection: str) -> bool:
    """Whether the caller of the call under way may know of a collection."""
    return current_grants().allow(Role.READER, collection)


def set_grants(grants: Grants) -> None:
    """State what the caller may do, until the task that states it ends."""
    _current.set(grants)
