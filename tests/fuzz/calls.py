"""One call as bytes, whatever they are: what is sent, and what comes back."""

from __future__ import annotations

import base64
import contextlib
import enum
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import grpc
from tests.fuzz.methods import BY_PATH, Method

PATIENCE_S = 20.0
"""A call that takes longer hangs."""
IMPATIENCE_S = 0.3
"""Deadline of a stream that the client never ends."""
_SOME_ANSWERS = 50
"""Of a stream of answers, the first so many are kept; the others are only read."""


class Ending(enum.Enum):
    """What a client does after its last message."""

    COMPLETE = "complete"
    CANCEL = "cancel"
    """Goes away without a word."""
    SILENCE = "silence"
    """Neither ends the stream nor goes away, until its deadline."""


@dataclass(frozen=True)
class Request:
    """What a client sends."""

    path: str
    messages: tuple[bytes, ...]
    metadata: tuple[tuple[str, str | bytes], ...] = ()
    ending: Ending = Ending.COMPLETE
    timeout_s: float = PATIENCE_S

    @property
    def method(self) -> Method | None:
        """The method, where there is one of this path."""
        return BY_PATH.get(self.path)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "path": self.path,
            "messages": [_packed(message) for message in self.messages],
            "metadata": [
                [key, {"bytes": _packed(value)} if isinstance(value, bytes) else value]
                for key, value in self.metadata
            ],
            "ending": self.ending.value,
            "timeout_s": self.timeout_s,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Request:
        """Of what `to_json` gave."""
        return cls(
            values["path"],
            tuple(base64.b64decode(message) for message in values["messages"]),
            tuple(
                (key, base64.b64decode(value["bytes"]) if isinstance(value, dict) else value)
                for key, value in values["metadata"]
            ),
            Ending(values["ending"]),
            values["timeout_s"],
        )


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class Answer:
    """What came back."""

    code: grpc.StatusCode
    message: str
    details: bytes
    """The packed ``google.rpc.Status``; empty where none came."""
    responses: tuple[bytes, ...]
    seconds: float


def send(channel: grpc.Channel, request: Request) -> Answer:
    """Make a call and wait for its end."""
    if request.ending is Ending.SILENCE:
        request = replace(request, timeout_s=min(request.timeout_s, IMPATIENCE_S))
    method = request.method
    start = time.monotonic()
    done = threading.Event()
    responses: list[bytes] = []
    try:
        call = _opened(channel, request, method, done)
        for response in call:
            if len(responses) < _SOME_ANSWERS:
                responses.append(response)
            if method is not None and method.name == "Watch":  # it never ends by itself
                call.cancel()
        code, message = call.code(), call.details()
    except grpc.RpcError as error:
        call = error
        code, message = call.code(), call.details()
    finally:
        done.set()
    details = b""
    with contextlib.suppress(ValueError, TypeError):
        for key, value in call.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                details = value
    seconds = time.monotonic() - start
    return Answer(code, message or "", details, tuple(responses), seconds)


def _opened(
    channel: grpc.Channel, request: Request, method: Method | None, done: threading.Event
) -> Any:
    """Begin a call. Every kind is made as a stream both ways: on the wire there is no difference.

    So a method of one request can be sent none, or two.
    """
    call = None
    sent = threading.Event()

    def outgoing() -> Iterator[bytes]:
        yield from request.messages
        sent.set()
        if request.ending is not Ending.COMPLETE:
            done.wait(PATIENCE_S)

    call = channel.stream_stream(request.path)(
        outgoing(), metadata=request.metadata, timeout=request.timeout_s
    )
    if request.ending is Ending.CANCEL:
        sent.wait(IMPATIENCE_S)
        call.cancel()
    return call
