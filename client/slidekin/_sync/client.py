"""The client for programs that wait for their answers."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from slidekin._credentials import Credential, Token
from slidekin._sync.caller import Caller
from slidekin._sync.collections import CollectionMethods
from slidekin._sync.reindexes import ReindexMethods
from slidekin._sync.search import SearchMethods
from slidekin._sync.service import ServiceMethods
from slidekin._sync.slides import SlideMethods
from slidekin._tracing import CallTracing
from slidekin._transport import DEFAULT_TARGET
from slidekin._types import Retry, Timeouts, Tls

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class Client(ServiceMethods, CollectionMethods, ReindexMethods, SlideMethods, SearchMethods):
    """Talks to a slidekin service. Safe to share between threads; make one and keep it.

    Collections and slides are named by id (``breast``) or by full resource name
    (``collections/breast``, ``collections/breast/slides/S1``); a slide's id needs its collection
    beside it. Every method raises `ServiceError` or one of its kinds where the service refuses or
    cannot be reached, and ``ValueError`` for an argument that cannot be meant.

    Args:
        target: Address of the service, ``host:port``. Several replicas are used in turns: a list
            ``host:port,host:port``, or a name with several addresses (``dns:///service:50051``).
        tls: Encrypt, and how. None: plain text, for this machine or a trusted network.
        api_key: Says who is calling: a key made by ``slidekin-server keys create``.
        token: Says it instead: a bearer token of the identity provider, or a function that returns
            one. A function is asked before every call, so let it keep its token until that expires.
        plaintext_credentials: Send key or token unencrypted, too, to another machine. Only where
            something else closes the way there.
        timeouts: How long calls may take where a call states nothing else.
        retry: How often a call that may be repeated is made again.
        tracer_provider: Makes a span of each attempt of a call. None: the one that the program has
            set up for OpenTelemetry, if any.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        tls: Tls | None = None,
        api_key: str | None = None,
        token: Token | None = None,
        plaintext_credentials: bool = False,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._caller = Caller(
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def target(self) -> str:
        """Address of the service."""
        return self._caller.target

    def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        self._caller.close()
