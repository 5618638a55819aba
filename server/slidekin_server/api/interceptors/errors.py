"""Exceptions become statuses, and never anything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc import aio
from grpc_status import rpc_status

from slidekin_server.api.errors import status_of
from slidekin_server.api.interceptors.layers import Call, Context
from slidekin_server.telemetry import note


class ErrorMapper:
    """Answers what is raised inside with ``status_of``: by handlers, and by the layers within."""

    @contextlib.asynccontextmanager
    async def around(self, call: Call) -> AsyncIterator[None]:
        """Guard a call."""
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001  every exception is answered
            await _answer(error, call.context)


async def _answer(error: BaseException, context: Context) -> None:
    """End the call with the error's status; raises."""
    if isinstance(error, aio.AbortError | KeyboardInterrupt | SystemExit):
        raise error
    task = asyncio.current_task()
    cancelled = task is not None and task.cancelling() > 0
    # aio.InternalError: a part of the work could not send any more; it may come to know before it
    # is cancelled with the rest.
    if cancelled and isinstance(error, asyncio.CancelledError | aio.InternalError):
        # The call itself was cancelled: nobody waits for an answer.
        raise error
    if isinstance(error, asyncio.CancelledError):
        # A cancelled part of the work. Raised on, it would leave the client waiting for ever.
        error = RuntimeError("part of the call's work was cancelled")
    status = status_of(error)
    note(reason=_reason(status))
    await context.abort_with_status(  # type: ignore[attr-defined]  # missing in its stubs
        rpc_status.to_status(status)
    )


def _reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return str(info.reason)
    return str(code_pb2.Code.Name(status.code))
