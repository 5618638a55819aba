"""A server that speaks Triton's protocol and answers as a test says.

For what the real one cannot be told to do: full queues, nonsense, silence. Tests with the real
Triton are in tests/integration/encoding.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import numpy as np
from grpc import aio
from tests.unit.server.made_bundles import canary_answer
from tritonclient.grpc import service_pb2, service_pb2_grpc

_TYPES = {"uint8": "UINT8", "float32": "FP32"}


class TritonDouble(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers every patch as the canary, unless told otherwise."""

    def __init__(self) -> None:
        self.codes, self.features = canary_answer()
        self.failure: tuple[grpc.StatusCode, str] | None = None
        self.free = asyncio.Event()
        self.free.set()
        self.requests: list[service_pb2.ModelInferRequest] = []
        self.cut = b""
        self.runtimes = dict.fromkeys(("vqvae", "texture"), ("torch", "fp32"))
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0
        self._server: aio.Server | None = None

    async def ModelInfer(self, request, context):  # noqa: N802
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            await self.free.wait()
        finally:
            self.in_flight -= 1
        if self.failure:
            await context.abort(*self.failure)
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for name, array in {"CODES": self.codes, "TEXTURE_FEATURES": self.features}.items():
            response.outputs.add(
                name=name, datatype=_TYPES[array.dtype.name], shape=(1, *array.shape)
            )
            raw = np.ascontiguousarray(array).tobytes()
            response.raw_output_contents.append(raw.removesuffix(self.cut))
        return response

    async def ModelConfig(self, request, context):  # noqa: N802
        response = service_pb2.ModelConfigResponse()
        for network, (runtime, precision) in self.runtimes.items():
            parameters = response.config.parameters
            parameters[f"{network}_runtime"].string_value = runtime
            parameters[f"{network}_precision"].string_value = precision
        return response

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before where there was one."""
        self._server = aio.server(options=[("grpc.max_receive_message_length", -1)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Go away, cancelling what is in flight."""
        if self._server:
            await self._server.stop(None)
            self._server = None


@contextlib.asynccontextmanager
async def triton_double() -> AsyncIterator[TritonDouble]:
    """A running one."""
    double = TritonDouble()
    await double.start()
    try:
        yield double
    finally:
        await double.stop()
