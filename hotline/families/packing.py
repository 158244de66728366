"""Linear layers whose weights lie as oneDNN multiplies by them, for models that only answer, on a CPU in 32 bits.

torch multiplies by MKL, which takes its narrow path on processors of other makers; oneDNN takes the processor's widest.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

SMALLEST = 2**14
"""Weights of the smallest layer that gains from it: a smaller one is done before oneDNN has begun."""


class PackedLinear(nn.Module):
    """A linear layer that answers and is neither trained nor saved."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())

    @property
    def weight(self) -> Tensor:
        """As it was, laid out anew at every look: for code that reads it where it could call the layer."""
        plain: Tensor = self._packed.to_dense()
        return plain

    def forward(self, given: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(given, self._packed, self.bias, "none", [], "")
        return found

    def _save_to_state_dict(self, *arguments: Any, **named: Any) -> None:
        raise AssertionError("a packed layer cannot be saved: load the version by its family")


def pack(model: nn.Module) -> int:
    """Pack every large linear layer in place; how many there were. Weights that other layers share stay theirs.

    A model with an adapter that is not merged stays as it is: adapters look at weights at every step.
    """
    adapted = any(type(layer).__module__.startswith("peft.") for layer in model.modules())
    if adapted or not torch._C._has_mkldnn or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    made: dict[nn.Linear, PackedLinear] = {}
    for parent in list(model.modules()):
        for name, layer in list(parent._modules.items()):
            if _fits(layer):
                made[layer] = made.get(layer) or PackedLinear(layer)
                setattr(parent, name, made[layer])
    return len(made)


def _fits(layer: nn.Module | None) -> TypeGuard[nn.Linear]:
    if type(layer) is not nn.Linear:
        return False
    weight = layer.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= SMALLEST
