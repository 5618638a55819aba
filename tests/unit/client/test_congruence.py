from __future__ import annotations

import inspect
import re

from slidekin import AsyncClient, Client

_SHARED_DUNDERS = {"__enter__": "__aenter__", "__exit__": "__aexit__"}


def _methods(client: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(member)
        for name, member in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_")
    }


def _as_sync(annotation: str) -> str:
    return re.sub(r"\bAsyncIterator\b", "Iterator", annotation)


def test_both_clients_have_the_same_methods_arguments_and_answers():
    sync, asynchronous = _methods(Client), _methods(AsyncClient)
    assert set(sync) == set(asynchronous) > {"close", "add_slide", "search_slide"}
    for name, signature in sync.items():
        other = asynchronous[name]
        assert signature.parameters == other.parameters, name
        assert signature.return_annotation == _as_sync(other.return_annotation), name


def test_both_clients_are_made_and_entered_alike():
    made, made_async = inspect.signature(Client), inspect.signature(AsyncClient)
    # A token's function may be one that is awaited where there is an event loop.
    awaited = made_async.parameters["token"].replace(annotation="Token | None")
    assert made_async.parameters["token"].annotation == "AsyncToken | None"
    assert made.parameters == {**made_async.parameters, "token": awaited}
    assert all(
        hasattr(Client, sync) and hasattr(AsyncClient, other)
        for sync, other in _SHARED_DUNDERS.items()
    )


def test_every_public_method_says_what_it_does():
    for client in (Client, AsyncClient):
        assert all(inspect.getdoc(getattr(client, name)) for name in _methods(client))
