"""One patch to Triton and back: makes requests, checks answers, translates errors.

Triton batches over all callers by itself, so each request holds one patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from slidekin_server.bundle import ModelBundle
from slidekin_server.codes import CODES_SIDE
from slidekin_server.encoding.errors import (
    EncoderBusyError,
    EncoderFaultError,
    EncoderTimeoutError,
    EncoderUnavailableError,
    EncodingError,
    ImageRefusedError,
)
from slidekin_server.encoding.images import PATCH_PX, ImageFormat, PatchImage
from slidekin_server.encoding.runtimes import NETWORKS, NetworkRuntime
from slidekin_server.telemetry import outgoing_headers

_T = TypeVar("_T", bound=np.generic)

_REFUSED = "image refused: "
"""Beginning of the message by which Triton's decoder refuses an image."""


@dataclass(frozen=True, slots=True, eq=False)
class EncoderAnswer:
    """The networks' answer for one patch."""

    codes: NDArray[np.uint8]
    """Shape (64, 64), before the semantic order."""
    features: NDArray[np.float32]
    """Shape (texture_bits,)."""


@dataclass(frozen=True, slots=True, eq=False)
class TritonRequest:
    """A patch, ready to be sent."""

    model: str
    inputs: list[InferInput]


class TritonClient:
    """Long-lived connection to one Triton. Belongs to the event loop in which it is made."""

    def __init__(self, bundle: ModelBundle, *, url: str, retry_after_s: float) -> None:
        """Prepare the connection; nothing is sent yet.

        Args:
            bundle: Gives the names of Triton's models and the width of the textures.
            url: ``HOST:PORT`` of Triton's gRPC interface.
            retry_after_s: When a caller should retry if Triton is away; the client tries to
                reconnect at least as often.
        """
        self._bundle = bundle
        self._url = url
        self._retry_after_s = retry_after_s
        self._client = InferenceServerClient(
            url,
            channel_args=[
                # If the name resolves to several Tritons, they take turns.
                ("grpc.lb_policy_name", "round_robin"),
                # Requests hold raw patches of 3 MiB; answers are small.
                ("grpc.max_send_message_length", 16 * 1024 * 1024),
                # gRPC's own back-off grows to two minutes, far longer than Triton takes to start.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", max(100, int(retry_after_s * 1000))),
            ],
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def runtimes(self, *, timeout_s: float) -> tuple[NetworkRuntime, ...]:
        """Ask how the networks are served; what Triton does not say stays empty.

        Raises:
            EncodingError: One of its subclasses.
        """
        model = self._bundle.encoder_model
        try:
            answer = await self._client.get_model_config(
                model, self._bundle.model_version, client_timeout=timeout_s
            )
        except InferenceServerException as error:
            raise self._translated(error, timeout_s) from error
        said = {key: value.string_value for key, value in answer.config.parameters.items()}
        return tuple(
            NetworkRuntime(
                role=role,
                runtime=said.get(f"{role}_runtime", ""),
                precision=said.get(f"{role}_precision", ""),
            )
            for role in NETWORKS
        )

    def request(self, image: PatchImage) -> TritonRequest:
        """Make the request for a checked image, which is copied."""
        if image.format is ImageFormat.RGB:
            pixels = np.frombuffer(image.data, np.uint8).reshape(1, PATCH_PX, PATCH_PX, 3)
            raw = InferInput("PIXELS", list(pixels.shape), "UINT8")
            raw.set_data_from_numpy(pixels)
            return TritonRequest(self._bundle.raw_encoder_model, [raw])
        file = InferInput("IMAGE", [1, 1], "BYTES")
        file.set_data_from_numpy(np.array([[image.data]], dtype=np.object_))
        return TritonRequest(self._bundle.encoder_model, [file])

    async def infer(
        self, request: TritonRequest, *, timeout_s: float, wanted_s: float | None = None
    ) -> EncoderAnswer:
        """Have one patch encoded.

        Args:
            request: The patch.
            timeout_s: When to give up. Giving up may crash Triton, so make it long.
            wanted_s: The caller's remaining time; None: no limit. It is sent to Triton, which
                ignores it without a queue policy.

        Raises:
            EncodingError: One of its subclasses.
        """
        try:
            result = await self._client.infer(
                request.model,
                request.inputs,
                model_version=self._bundle.model_version,
                timeout=None if wanted_s is None else max(round(wanted_s * 1e6), 1),
                client_timeout=timeout_s,
                headers=outgoing_headers(),
            )
        except InferenceServerException as error:
            raise self._translated(error, timeout_s) from error
        return EncoderAnswer(
            codes=_output(result, "CODES", "UINT8", np.uint8, (CODES_SIDE, CODES_SIDE)),
            features=_output(
                result, "TEXTURE_FEATURES", "FP32", np.float32, (self._bundle.texture_bits,)
            ),
        )

    def _translated(self, error: InferenceServerException, timeout_s: float) -> EncodingError:
        status = str(error.status()).removeprefix("StatusCode.")
        message = error.message() or ""
        if _REFUSED in message:
            return ImageRefusedError(message.partition(_REFUSED)[2])
        if status == "DEADLINE_EXCEEDED" or "Request timeout expired" in message:
            return EncoderTimeoutError(
                f"Triton at {self._url} did not answer within {timeout_s:.3g} s"
            )
        if status == "RESOURCE_EXHAUSTED" or "Exceeds maximum queue size" in message:
            return EncoderBusyError(f"Triton at {self._url} is full", self._retry_after_s)
        if status in ("UNAVAILABLE", "CANCELLED", "NOT_FOUND"):
            # A stopping Triton cancels running requests; a starting one does not know its models.
            return EncoderUnavailableError(
                f"Triton at {self._url} is not ready: {message}", self._retry_after_s
            )
        return EncoderFaultError(f"Triton at {self._url} failed with {status}: {message}")


def _output(
    result: InferResult, name: str, datatype: str, dtype: type[_T], shape: tuple[int, ...]
) -> NDArray[_T]:
    """Return one output, checked: with the wrong numpy, Triton answers garbage without an error."""
    response = result.get_response()
    found = {
        tensor.name: ((tensor.datatype, tuple(tensor.shape), len(raw)), raw)
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=False)
    }
    layout, raw = found.get(name, (None, b""))
    wanted = (datatype, (1, *shape), int(np.prod(shape)) * np.dtype(dtype).itemsize)
    if layout != wanted:
        raise EncoderFaultError(
            f"Triton's output {name} is {layout}, not {wanted} (type, shape, bytes): "
            "does it serve another bundle?"
        )
    return np.frombuffer(raw, dtype).reshape(shape)
