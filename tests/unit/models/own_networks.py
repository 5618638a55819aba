"""Small texture networks of a user's own, as TorchScript and ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

SIDE_PX = 32
BITS = 64


def network(bits: int = BITS) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, bits, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def write_torchscript(path: Path, module: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module.eval()).save(path)
    return path


def write_onnx(path: Path, *, batch: int | str = "n", outputs: Sequence[str] = ("vector",)) -> Path:
    """The same network as :func:`network`, node by node."""
    convolution = network()[0]
    weights = {
        name: numpy_helper.from_array(value.detach().numpy().astype(np.float32), name)
        for name, value in (("w", convolution.weight), ("b", convolution.bias))
    }
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["maps"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["maps"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["vector"]),
    ]
    shapes = {"vector": [batch, BITS], "maps": None}
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in outputs],
        list(weights.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
