"""Finds out who is calling, and lets only permitted calls through."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from slidekin_server.access.authenticator import Peer, Principal
from slidekin_server.access.errors import PermissionDeniedError
from slidekin_server.access.roles import EVERYTHING, Role, set_grants
from slidekin_server.api.interceptors.layers import Call, Watch
from slidekin_server.api.kinds import BULK
from slidekin_server.api.permissions import RULES, Reach, Rule, is_public
from slidekin_server.archive.names import ANY_COLLECTION, collection_name
from slidekin_server.callers import Caller, Urgency, set_caller
from slidekin_server.telemetry import note

_ALL = "all collections"
_ANY = "any collection"


class Identifies(Protocol):
    """Tells who a call is from."""

    async def identify(self, metadata: Sequence[tuple[str, str | bytes]], peer: Peer) -> Principal:
        """Return the caller; raises an ``AccessError`` if the call does not identify one."""


class AccessLayer:
    """Identifies the caller, and checks permission before the handler sees a request.

    Args:
        identifies: Tells who a call is from.
    """

    def __init__(self, identifies: Identifies) -> None:
        self._identifies = identifies

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[Watch | None]:
        """Guard a call."""
        if is_public(call.method):
            yield None
            return
        context = call.context
        principal = await self._identifies.identify(
            tuple(context.invocation_metadata() or ()), context.auth_context()
        )
        urgency = Urgency.BULK if call.method in BULK else Urgency.INTERACTIVE
        set_caller(Caller(principal.identity, urgency))
        set_grants(principal.grants)
        note(identity=principal.identity)
        yield _watch(call.method, RULES.get(call.method), principal)


def _watch(method: str, rule: Rule | None, principal: Principal) -> Watch | None:
    """Return the check of the call's requests; None if they need no check.

    Raises:
        PermissionDeniedError: The caller may not call the method, whatever the request.
    """
    if rule is None:
        raise PermissionDeniedError(
            f"{method} states no permission, so nobody may call it",
            identity=principal.identity,
            permission="",
            collection="",
        )
    grants = principal.grants
    # Whoever may do everything needs no check; the handler says what is wrong with a request.
    if rule.reach is Reach.KNOWN or grants == EVERYTHING:
        return None
    if rule.reach is Reach.VISIBLE:
        allowed = grants.allow_somewhere(rule.role)
        _require(principal, rule.role, _ANY, allowed=allowed)
        return None
    if rule.reach is Reach.SERVICE:
        allowed = grants.allow_everywhere(rule.role)
        _require(principal, rule.role, _ALL, allowed=allowed)
        return None
    return _first(rule, principal)


def _first(rule: Rule, principal: Principal) -> Watch:
    looked = False

    async def look(request: Any) -> None:  # noqa: ANN401  any message of the contract
        nonlocal looked
        if looked:
            return
        collection = rule.collection(request)
        if collection == ANY_COLLECTION:
            allowed = principal.grants.allow_everywhere(rule.role)
            _require(principal, rule.role, _ALL, allowed=allowed)
        else:
            allowed = principal.grants.allow(rule.role, collection)
            _require(principal, rule.role, collection_name(collection), allowed=allowed)
        looked = True

    return look


def _require(principal: Principal, role: Role, where: str, *, allowed: bool) -> None:
    if allowed:
        return
    pattern = {_ALL: "*", _ANY: "COLLECTION"}.get(where, where.rpartition("/")[2])
    raise PermissionDeniedError(
        f"{principal.identity} lacks the role {role.text} for {where}: an administrator can give "
        f"it with access.grants in the service's settings, or with a key made by `slidekin-server "
        f"keys create NAME --role {role.text} --collection '{pattern}'`",
        identity=principal.identity,
        permission=role.text,
        collection=where,
    )
