"""Linear layers whose weights lie as oneDNN multiplies by them, for models that only answer, on a CPU in 32 bits.

torch multiplies by MKL, which takes its narrow path on processors of other makers; oneDNN takes the processor's widest.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

SMALLEST = 2**16
"""Weights of the smallest layer that gains from it: a smaller one is done before oneDNN has begun."""


class PackedLinear(nn.Module):
    """A linear layer that answers and is neither trained nor saved."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        hole = torch.full((), float("nan"), dtype=layer.weight.dtype)
        self.register_buffer("weight", hole.expand(layer.weight.shape), persistent=False)
        """What a reader learns the shape and the type from; its numbers are none, so that nothing is computed of it."""

    def forward(self, given: Tensor) -> Tensor:
        return _multiply(given, self._packed, self.bias)

    def _save_to_state_dict(self, *arguments: Any, **named: Any) -> None:
        raise AssertionError("a packed layer cannot be saved: load the version by its family")


def pack(model: nn.Module) -> int:
    """Pack every large linear layer in place; how many there were. Weights that other layers share stay theirs."""
    if not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    made: dict[nn.Linear, PackedLinear] = {}
    for parent in list(model.modules()):
        for name, layer in list(parent._modules.items()):
            if _fits(layer, parent):
                made[layer] = made.get(layer) or PackedLinear(layer)
                setattr(parent, name, made[layer])
    return len(made)


def _fits(layer: nn.Module | None, parent: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether it is a plain linear layer whose parent calls it: torch's own Transformer layers read its weight."""
    if type(layer) is not nn.Linear or type(parent).__module__.startswith("torch.nn.modules.transformer"):
        return False
    weight = layer.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= SMALLEST


def _multiply(given: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(given, packed, bias, "none", [], "")
    return found
