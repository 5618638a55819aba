"""Folds BatchNorm into the convolution before it: the same function in fewer passes."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _Tracer(fx.Tracer):
    """Traces no convolution's inside, including those of other packages."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Fold each BatchNorm that directly follows a convolution into that convolution.

    Those behind a ReLU stay: with zero padding, their shift cannot be moved into the next
    convolution.

    Args:
        network: A network in evaluation mode; it is not changed.

    Returns:
        A module that computes the same function, up to rounding.
    """
    traced = fx.GraphModule(network, _Tracer().trace(network))
    modules: dict[str, Any] = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        follows = before.op == "call_module" and isinstance(modules[before.target], nn.Conv2d)
        if not follows or len(before.users) > 1:
            continue
        folded = fuse_conv_bn_eval(modules[before.target], modules[node.target])
        traced.set_submodule(before.target, folded)
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
