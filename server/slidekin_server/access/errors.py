"""Errors of authentication and authorisation."""

from __future__ import annotations


class AccessError(Exception):
    """The root of this package's errors."""


class AccessSetupError(AccessError):
    """A file or setting that access depends on cannot be used; names it and the cure."""


class UnauthenticatedError(AccessError):
    """The caller did not prove who they are."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class IdentityProviderError(AccessError):
    """A token cannot be checked now: its provider does not answer."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermissionDeniedError(AccessError):
    """The caller is known and may not do this."""

    def __init__(self, message: str, *, identity: str, permission: str, collection: str) -> None:
        super().__init__(message)
        self.metadata = {
            "identity": identity,
            "permission": permission,
            "collection": collection,
        }
