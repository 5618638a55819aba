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
    (``collections/breast``, ``collections/breast/slides/S1``). With a slide's id, state its
    collection too. Every method raises `ServiceError` or a subclass if the service refuses the call
    or cannot be reached, and ``ValueError`` if an argument makes no sense.

    Args:
        target: Address of the service, ``host:port``. For several replicas, used in turn: a list
            ``host:port,host:port``, or a name with several addresses (``dns:///service:50051``).
        tls: How to encrypt. None: plain text, for this machine or a trusted network.
        api_key: Identifies the caller: a key made by ``slidekin-server keys create``.
        token: The alternative to a key: a bearer token of the identity provider, or a function that
            returns one. The function is called before every call, so it should cache its token.
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
