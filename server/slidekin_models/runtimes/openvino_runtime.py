"""OpenVINO on the CPU: the trunk converted from torch and compiled for this processor."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slidekin_models.errors import PlacementError
from slidekin_models.networks.halves import Halves
from slidekin_models.runtimes.placement import Placement

_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoRuntime:
    """The trunk in OpenVINO, the judgement behind it in torch.

    Args:
        halves: In evaluation mode.
        placement: The runtime ``openvino``.

    Raises:
        PlacementError: OpenVINO is not installed.
    """

    def __init__(self, halves: Halves, placement: Placement) -> None:
        if placement.threads:
            # The judgement is small, and torch's idle threads would spin and slow OpenVINO's down.
            torch.set_num_threads(1)
        self._openvino = _import_openvino()
        self._core = self._openvino.Core()
        self._halves = halves
        self._options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[placement.precision],
            "INFERENCE_NUM_THREADS": placement.threads,
            "NUM_STREAMS": 1,
            # Two networks share the machine; if pinned, both would use the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Encode patches (n, side, side, 3); the first call with a shape compiles the network."""
        request = self._compiled.get(images.shape)
        if request is None:
            request = self._compiled[images.shape] = self._compile(images)
        maps = request.infer([images], share_inputs=True, share_outputs=True)[0]
        with torch.inference_mode():
            answers: NDArray[np.generic] = self._halves.judgement(torch.from_numpy(maps)).numpy()
        return answers

    def _compile(self, images: NDArray[np.uint8]) -> Any:  # noqa: ANN401
        # Traced at this shape: a network may compute its padding from it.
        with warnings.catch_warnings():
            # OpenVINO uses a tracer that torch is about to drop; torch's version is pinned.
            warnings.simplefilter("ignore")
            model = self._openvino.convert_model(
                self._halves.trunk, example_input=torch.from_numpy(images)
            )
        model.reshape(list(images.shape))
        return self._core.compile_model(model, "CPU", self._options).create_infer_request()


def _import_openvino() -> Any:  # noqa: ANN401 (the package ships no types)
    try:
        import openvino  # noqa: PLC0415 (only if it is used)
    except ImportError:
        msg = (
            "runtime: openvino is not installed here; install deploy/triton/requirements.txt, or "
            "use torch"
        )
        raise PlacementError(msg) from None
    return openvino
