"""torch: the network as written, folded, compiled, or as a GPU's recorded kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slidekin_models.errors import PlacementError
from slidekin_models.networks.halves import Halves
from slidekin_models.runtimes.folding import fold_batch_norm
from slidekin_models.runtimes.placement import Placement

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchRuntime:
    """Both halves on the placement's device.

    Args:
        halves: In evaluation mode.
        placement: A runtime of torch.

    Raises:
        PlacementError: There is no such device.
    """

    def __init__(self, halves: Halves, placement: Placement) -> None:
        if placement.device.startswith("cuda") and not torch.cuda.is_available():
            msg = f"device: {placement.device} was asked for, but torch sees no GPU; use cpu"
            raise PlacementError(msg)
        if placement.threads:
            torch.set_num_threads(placement.threads)
        # fp32 must be real fp32: TF32 would round the products to 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        self._device = placement.device
        self._dtype = _DTYPES.get(placement.precision)
        self._trunk = _prepared(halves.trunk.to(placement.device), placement.runtime)
        self._judgement = halves.judgement.to(placement.device)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Encode patches (n, side, side, 3)."""
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self._device)
            with self._autocast():
                maps = self._trunk(batch)
            answers: NDArray[np.generic] = self._judgement(maps.float()).cpu().numpy()
        return answers

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self._device).type, self._dtype)


def _prepared(trunk: nn.Module, runtime: str) -> Callable[[Tensor], Tensor]:
    if runtime == "torch":
        return _channels_last(trunk)
    folded = _channels_last(fold_batch_norm(trunk))
    if runtime == "torch-compile":
        return torch.compile(folded, dynamic=False)
    if runtime == "torch-cudagraphs":
        return torch.compile(folded, dynamic=False, backend="cudagraphs")
    return folded


def _channels_last(trunk: nn.Module) -> nn.Module:
    return trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
