"""The client for programs with an event loop; of the same shape as `Client`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from slidekin._async.caller import AsyncCaller
from slidekin._async.collections import AsyncCollectionMethods
from slidekin._async.reindexes import AsyncReindexMethods
from slidekin._async.search import AsyncSearchMethods
from slidekin._async.service import AsyncServiceMethods
from slidekin._async.slides import AsyncSlideMethods
from slidekin._credentials import AsyncToken, Credential
from slidekin._tracing import CallTracing
from slidekin._transport import DEFAULT_TARGET
from slidekin._types import Retry, Timeouts, Tls

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class AsyncClient(
    AsyncServiceMethods,
    AsyncCollectionMethods,
    AsyncReindexMethods,
    AsyncSlideMethods,
    AsyncSearchMethods,
):
    """Talks to a slidekin service from one event loop; slides are read in threads beside it.

    Methods, arguments and errors are those of `Client`, awaited; listings and streams are
    asynchronous iterators. Callbacks for progress may be called from another thread.

    Args:
        target: Address of the service, ``host:port``. For several replicas, used in turn: a list
            ``host:port,host:port``, or a name with several addresses (``dns:///service:50051``).
        tls: How to encrypt. None: plain text, for this machine or a trusted network.
        api_key: Identifies the caller: a key made by ``slidekin-server keys create``.
        token: The alternative to a key: a bearer token of the identity provider, or a function that
            returns one. The function is called before every call, so it should cache its token.
            A coroutine function is awaited, any other is called in a thread.
        plaintext_credentials: Allow sending the key or token unencrypted to another machine. Only
            for a network that is protected by other means.
        timeouts: How long calls may take, unless a call states its own time-out.
        retry: How often a repeatable call is made again.
        tracer_provider: Makes a span for each attempt of a call. None: the program's own
            OpenTelemetry set-up, if any.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        token: AsyncToken | None = None,
        plaintext_credentials: bool = False,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._caller = AsyncCaller(
            target,
            tls=tls,
            credential=Credential(
                api_key,
                token,
                target=target,
                encrypted=tls is not None,
                plaintext=plaintext_credentials,
            ),
            timeouts=timeouts,
            retry=retry,
            tracing=CallTracing(tracer_provider),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def target(self) -> str:
        """Address of the service."""
        return self._caller.target

    async def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        await self._caller.close()
