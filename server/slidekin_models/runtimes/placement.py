"""Where and how a network runs: device, runtime, precision. Light to import: no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from slidekin_models.errors import PlacementError

RUNTIMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "torch": ("fp32", "bf16", "fp16"),
        "torch-folded": ("fp32", "bf16", "fp16"),
        "torch-compile": ("fp32", "bf16", "fp16"),
        "torch-cudagraphs": ("fp32", "bf16", "fp16"),
        "openvino": ("fp32", "bf16"),
    }
)
"""Each runtime with the precisions it offers.

``torch`` runs the network as written, operator by operator; in fp32 it is the reference for all
others. ``torch-folded`` folds each BatchNorm that directly follows a convolution into it.
``torch-compile`` fuses operators with torch's compiler, and needs a C++ compiler;
``torch-cudagraphs`` replays a GPU's recorded kernels. ``openvino`` runs on the CPU.
"""
PRECISIONS = ("fp32", "bf16", "fp16")
REFERENCE = ("torch", "fp32")
"""Runtime and precision that need no gate."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a network runs."""

    device: str = "cpu"
    """``cpu``, or ``cuda:N``."""
    precision: str = "fp32"
    """Of the convolutions. The nearest codeword and the mean over the last map are always computed
    in fp32."""
    runtime: str = "torch"
    """One of :data:`RUNTIMES`."""
    threads: int = 0
    """Threads of one network's operators on the CPU; 0: the runtime's own choice."""
    images_per_forward: int = 1
    """More than one gains nothing on a CPU, and one 1024 px patch already takes 0.6 GB in the
    VQ-VAE's first layers. With one, a result also never depends on the rest of the batch."""

    def __post_init__(self) -> None:
        """Refuse values that no runtime offers.

        Raises:
            PlacementError: A value is not offered; names it and the valid ones.
        """
        require_known("precision", self.precision, PRECISIONS)
        require_known("runtime", self.runtime, tuple(RUNTIMES))
        offered = RUNTIMES[self.runtime]
        if self.precision not in offered:
            msg = (
                f"precision: {self.precision!r} is not served by the runtime {self.runtime}; it "
                f"offers {', '.join(offered)}"
            )
            raise PlacementError(msg)
        on_gpu = self.device != "cpu"
        if self.runtime == "openvino" and on_gpu:
            msg = f"runtime: openvino runs on the CPU, not on {self.device}; use torch-compile"
            raise PlacementError(msg)
        if self.runtime == "torch-cudagraphs" and not on_gpu:
            msg = "runtime: torch-cudagraphs runs on a GPU, not on the CPU; use openvino"
            raise PlacementError(msg)
        if self.images_per_forward < 1:
            msg = f"images_per_forward: {self.images_per_forward} is less than 1"
            raise PlacementError(msg)


def require_known(key: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse an unknown value.

    Raises:
        PlacementError: The value is unknown; names the known ones.
    """
    if value not in known:
        msg = f"{key}: {value!r} is not served; known are {', '.join(known)}"
        raise PlacementError(msg)


def placement_in_triton(parameters: Mapping[str, str], kind: str, device_id: str) -> Placement:
    """Return the placement that a Triton model's configuration states.

    Args:
        parameters: ``precision``, ``runtime``, ``threads``, ``images_per_forward``, as text.
        kind: Of the model instance: ``CPU`` or ``GPU``.
        device_id: Number of the instance's GPU.
    """
    runtime = parameters["runtime"]
    return Placement(
        device=f"cuda:{device_id}" if kind == "GPU" else "cpu",
        precision=parameters["precision"],
        runtime=runtime,
        threads=int(parameters["threads"]) or _threads(runtime),
        images_per_forward=int(parameters["images_per_forward"]),
    )


def _threads(runtime: str) -> int:
    """Return the threads of each of the two networks that share the machine.

    torch's threads wait for each other in busy loops, so having more of them than cores is
    expensive: on two cores a patch takes both networks 2.1 s of processor time with one thread
    each, and 3.4 s with two. OpenVINO's threads sleep while they wait, so each network may use all
    cores.
    """
    cores = len(os.sched_getaffinity(0))
    return cores if runtime == "openvino" else max(1, cores // 2)
