"""A quick encoder that speaks Triton's protocol: patches of like colours get like codes.

The real networks take seconds a patch and have tests of their own; with this one the road from a
slide on disk through the real service and back takes moments, and finds what looks alike.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from PIL import Image
from tests.unit.server.made_bundles import BITS, canary_answer, picture
from tritonclient.grpc import service_pb2, service_pb2_grpc

from slidekin_models.decoding import decode_patch
from slidekin_models.errors import ImageRefusedError

_CANARY = picture()


class QuickEncoder(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers the canary as the made bundle wants it, and others by their colours."""

    def __init__(self, precision: str, traceparents: list[str]) -> None:
        self._precision = precision
        self._traceparents = traceparents

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        headers = dict(context.invocation_metadata())
        self._traceparents += [headers["traceparent"]] if "traceparent" in headers else []
        (raw,) = request.raw_input_contents
        if request.inputs[0].name == "IMAGE":
            (size,) = struct.unpack_from("<I", raw)
            data = raw[4 : 4 + size]
            if data == _CANARY:
                return _response(request, *canary_answer())
            try:
                image = Image.fromarray(decode_patch(data))
            except ImageRefusedError as error:  # as the real one says it
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"image refused: {error}")
        else:
            image = Image.frombytes("RGB", (1024, 1024), raw)
        return _response(request, *_look(image))

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        response = service_pb2.ModelConfigResponse()
        for network in ("vqvae", "texture"):
            parameters = response.config.parameters
            parameters[f"{network}_runtime"].string_value = "torch"
            parameters[f"{network}_precision"].string_value = self._precision
        return response


def _look(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    codes = np.asarray(image.convert("L").resize((64, 64)), dtype=np.uint8) // 2
    colours = np.asarray(image.convert("HSV").resize((256, 256))).reshape(-1, 3)
    shares = np.concatenate(
        [np.histogram(channel, bins=BITS // 3, range=(0, 255))[0] for channel in colours.T]
    )
    return codes, np.resize(shares, BITS).astype(np.float32)


def _response(request: Any, codes: np.ndarray, features: np.ndarray) -> Any:
    response = service_pb2.ModelInferResponse(model_name=request.model_name)
    for name, kind, array in (("CODES", "UINT8", codes), ("TEXTURE_FEATURES", "FP32", features)):
        response.outputs.add(name=name, datatype=kind, shape=(1, *array.shape))
        response.raw_output_contents.append(np.ascontiguousarray(array).tobytes())
    return response


@contextlib.contextmanager
def quick_encoder(precision: str = "fp32", traceparents: list[str] | None = None) -> Iterator[str]:
    """Its address while it serves.

    Args:
        precision: In which it says to compute.
        traceparents: Takes those that requests come with.
    """
    servicer = QuickEncoder(precision, [] if traceparents is None else traceparents)
    server = grpc.server(
        ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)]
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
