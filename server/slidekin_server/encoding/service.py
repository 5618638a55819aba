"""Encoding as the rest of the service sees it: images in, keys and textures out.

Images are encoded only if the last canary check was right. The number of patches in flight at
Triton is bounded over all callers, who take turns: searches before ingest, and callers equally. A
patch that would be late, or whose caller has gone, is not sent.

A request that was sent to Triton is never cancelled: Triton 2.51 can crash if a request is
cancelled while an ensemble works on it. If its caller gives up, the request runs to its end, its
answer is dropped, and it counts as in flight until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidekin_server.admission import AdmissionError, Turns
from slidekin_server.bundle import ModelBundle
from slidekin_server.codes import keys_from_codes, textures_from_features
from slidekin_server.encoding.canary import Canary
from slidekin_server.encoding.errors import (
    EncoderFaultError,
    EncoderTimeoutError,
    EncoderUnavailableError,
    EncodingError,
    ImageRefusedError,
)
from slidekin_server.encoding.images import ImageLimits, PatchImage, check_image
from slidekin_server.encoding.runtimes import NetworkRuntime
from slidekin_server.encoding.triton import EncoderAnswer, TritonClient, TritonRequest
from slidekin_server.telemetry import INFER, Metrics, Stage, get_logger, traced

_log = get_logger(__name__)


class EncoderState(enum.Enum):
    """The result of the last canary check."""

    STARTING = "starting"
    """Not checked yet."""
    READY = "ready"
    UNAVAILABLE = "unavailable"
    """No answer."""
    CANARY_MISMATCH = "canary_mismatch"
    """A wrong answer; nothing is encoded."""


@dataclass(frozen=True, slots=True)
class EncoderStatus:
    """The state and, if it is not READY, the reason."""

    state: EncoderState
    message: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPatch:
    """The code of a patch, which the index stores."""

    key: int
    texture: NDArray[np.uint8]
    """Shape (texture_bits // 8,)."""


class Encoder:
    """Encodes patches through Triton and monitors it. Belongs to one event loop."""

    def __init__(
        self,
        bundle: ModelBundle,
        *,
        url: str,
        turns: Turns,
        timeout_s: float,
        canary_interval_s: float,
        retry_interval_s: float,
        limits: ImageLimits,
        metrics: Metrics,
        on_change: Callable[[EncoderStatus], None] | None = None,
    ) -> None:
        """Read the canary; nothing is sent yet.

        Args:
            bundle: The model that Triton serves.
            url: ``HOST:PORT`` of Triton's gRPC interface.
            turns: Bounds the patches at Triton at the same time; shared by all its encoders.
            timeout_s: Longest time of one patch at Triton.
            canary_interval_s: Time between two checks while the encoder is ready.
            retry_interval_s: Time between two checks while it is not.
            limits: How large an image may be.
            metrics: The metrics to update.
            on_change: Called in the event loop with every new status.

        Raises:
            BundleError: The canary cannot be read.
        """
        self._canary = Canary.load(bundle)
        self._semantic_order = bundle.semantic_order
        self._model_label = bundle.fingerprint[:12]
        self._triton = TritonClient(bundle, url=url, retry_after_s=retry_interval_s)
        self._turns = turns
        self._timeout_s = timeout_s
        self._canary_interval_s = canary_interval_s
        self._retry_interval_s = retry_interval_s
        self._limits = limits
        self._metrics = metrics
        self._on_change = on_change
        self._status = EncoderStatus(EncoderState.STARTING, "the encoders have not been asked yet")
        self._runtimes: tuple[NetworkRuntime, ...] = ()
        self._check_now = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[EncoderAnswer]] = set()

    @property
    def status(self) -> EncoderStatus:
        """The result of the last canary check."""
        return self._status

    @property
    def runtimes(self) -> tuple[NetworkRuntime, ...]:
        """How Triton serves the networks, as of the last check; empty before."""
        return self._runtimes

    async def start(self) -> None:
        """Begin to monitor Triton. Returns at once, whether Triton is running or not."""
        self._watch = asyncio.create_task(self._keep_watch(), name="canary")

    async def close(self) -> None:
        """Stop monitoring, wait for the patches at Triton, and close the connection."""
        if self._watch:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._triton.close()

    async def encode(self, image: PatchImage, *, timeout_s: float | None = None) -> EncodedPatch:
        """Encode one patch.

        Args:
            image: The patch.
            timeout_s: The caller's remaining time, including the wait for a turn; None: only the
                encoders' own limit.

        Raises:
            ImageRefusedError: The image is not a valid patch.
            EncoderUnavailableError: The encoders are away, or their canary is wrong.
            EncoderBusyError: Triton's queue is full.
            EncoderTimeoutError: No answer in time.
            EncoderFaultError: Triton gave an invalid answer.
            RefusedError, DeadlinePassedError: Its turn comes, or came, after the call's deadline.
        """
        start = time.perf_counter()
        outcome = "cancelled"
        try:
            with traced(Stage.ENCODE.value, fingerprint=self._model_label):
                patch = await self._encode(image, timeout_s)
            outcome = "ok"
        except AdmissionError:
            outcome = "late"
            raise
        except EncodingError as error:
            outcome = error.outcome
            if isinstance(error, EncoderUnavailableError) and self._is_ready:
                self._change(EncoderState.UNAVAILABLE, str(error))
                self._check_now.set()
            elif isinstance(error, EncoderFaultError):
                _log.exception("encoders answered nonsense", problem=str(error))
            raise
        finally:
            self._metrics.patches_encoded.labels(outcome).inc()
        self._metrics.observe_stage(Stage.ENCODE, time.perf_counter() - start)
        return patch

    async def _encode(self, image: PatchImage, timeout_s: float | None) -> EncodedPatch:
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        self._require_ready()
        await asyncio.to_thread(check_image, image, self._limits)
        try:
            async with asyncio.timeout_at(deadline):
                with self._metrics.encoder_waiting.track_inprogress():
                    turn = await self._turns.take()
        except TimeoutError:
            raise EncoderTimeoutError("the encoders were busy with others until the end") from None
        try:
            self._require_ready()  # the wait may have been long
            # This copies the image: do it now, or every waiting image would be in memory twice. A
            # thread would gain nothing: a copy keeps the interpreter to itself.
            request = self._triton.request(image)
        except BaseException:
            turn.give_back()
            raise
        wanted_s = None if deadline is None else deadline - asyncio.get_running_loop().time()
        task = self._send(request, wanted_s)
        task.add_done_callback(lambda _: turn.end())
        try:
            async with asyncio.timeout_at(deadline):
                answer = await asyncio.shield(task)
        except TimeoutError:
            raise EncoderTimeoutError("the encoders did not answer in the time given") from None
        return self._patch(answer)

    def _send(
        self, request: TritonRequest, wanted_s: float | None = None
    ) -> asyncio.Task[EncoderAnswer]:
        """Send a request, which then runs to its end even if nobody waits for it any more."""

        async def infer() -> EncoderAnswer:
            with self._metrics.encoder_in_flight.track_inprogress(), traced(INFER, outgoing=True):
                return await self._triton.infer(
                    request, timeout_s=self._timeout_s, wanted_s=wanted_s
                )

        def ended(task: asyncio.Task[EncoderAnswer]) -> None:
            self._under_way.discard(task)
            if not task.cancelled():
                task.exception()  # read, so that asyncio does not complain if nobody waits

        task = asyncio.create_task(infer())
        self._under_way.add(task)
        task.add_done_callback(ended)
        return task

    @property
    def _is_ready(self) -> bool:
        return self._status.state is EncoderState.READY

    def _require_ready(self) -> None:
        if not self._is_ready:
            raise EncoderUnavailableError(self._status.message, self._retry_interval_s)

    def _patch(self, answer: EncoderAnswer) -> EncodedPatch:
        try:
            (key,) = keys_from_codes(answer.codes[None], self._semantic_order)
            (texture,) = textures_from_features(answer.features[None])
        except ValueError as error:
            raise EncoderFaultError(f"Triton's answer is wrong: {error}") from error
        return EncodedPatch(int(key), texture)

    async def _keep_watch(self) -> None:
        while True:
            # An alarm from `encode` during this check requests another one.
            self._check_now.clear()
            state, message = await self._check()
            self._metrics.canary_checks.labels(state.value).inc()
            self._change(state, message)
            wait_s = self._canary_interval_s if self._is_ready else self._retry_interval_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._check_now.wait()

    async def _check(self) -> tuple[EncoderState, str]:
        """Check the canary, bypassing the queue: it must be answered even by busy encoders."""
        try:
            request = self._triton.request(self._canary.image)
            answer = await asyncio.shield(self._send(request))
            self._runtimes = await self._triton.runtimes(timeout_s=self._timeout_s)
            wrong = await asyncio.to_thread(self._canary.mismatch, answer, self._runtimes)
        except (ImageRefusedError, EncoderFaultError) as error:
            wrong = str(error)
        except EncodingError as error:
            return EncoderState.UNAVAILABLE, str(error)
        except Exception:  # noqa: BLE001 -- if monitoring ended, the state would never change again
            _log.exception("canary check failed")
            return EncoderState.UNAVAILABLE, "the canary check failed: see the service's log"
        if wrong:
            return EncoderState.CANARY_MISMATCH, (
                f"the canary came back wrong: {wrong}. Start Triton with the bundle that this "
                "service was started with"
            )
        return EncoderState.READY, ""

    def _change(self, state: EncoderState, message: str) -> None:
        status = EncoderStatus(state, message)
        if status == self._status:
            return
        write = _log.info if state is EncoderState.READY else _log.warning
        if state is not self._status.state:
            write(
                "encoders changed state",
                fingerprint=self._model_label,
                encoder_state=state.value,
                problem=message,
            )
        self._status = status
        self._metrics.encoder_state.labels(self._model_label).state(state.value)
        if self._on_change:
            self._on_change(status)
