"""How much memory a step takes: estimated before anything starts, or found by trying."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.recipe import TrainerSection

HOW = (
    "weights and gradients by their sizes and the precision, AdamW's two moments (and a master copy under bf16-true) "
    "in 32 bits, each divided by the ranks that share it under ZeRO; activations: what a forward pass of the longest "
    "row, or of one packed micro-batch, keeps for the backward pass, times the rows of the largest micro-batch"
)
BYTES = {"32-true": 4, "bf16-true": 2, "bf16-mixed": 4, "16-mixed": 4}


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    weights: int
    gradients: int
    optimiser: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.activations


def estimate(model: torch.nn.Module, section: TrainerSection, ranks: int, activations: int) -> Memory:
    """Bytes on one device; `HOW` says in words what is added up."""
    width, stage = BYTES[section.precision], zero_stage(section)
    held = sum(each.numel() for each in (*model.parameters(), *model.buffers()))
    learnt = sum(each.numel() for each in model.parameters() if each.requires_grad)
    moments = 8 + (4 if section.precision == "bf16-true" and stage else 0)
    return Memory(
        weights=held * width // (ranks if stage >= 3 else 1),
        gradients=learnt * width // (ranks if stage >= 2 else 1),
        optimiser=learnt * moments // (ranks if stage >= 1 else 1),
        activations=activations,
    )


def zero_stage(section: TrainerSection) -> int:
    return int((section.deepspeed or {}).get("zero_optimization", {}).get("stage", 0))


def kept_for_backward(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> int:
    """Bytes of the tensors that a forward pass keeps for the backward pass, each storage once, weights left out."""
    own = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}

    def saved(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        kept = loss()  # while it lives its graph does, and no storage is counted twice or reused
        total = sum(found.values())
        del kept
    return total


def peak_of_step(model: torch.nn.Module, loss: Callable[[Any], torch.Tensor], batch: Mapping[str, Any]) -> int | None:
    """Bytes that this process (or its GPU) held at most during forward and backward; None when it did not fit."""
    device = next(model.parameters()).device
    on_cpu = device.type == "cpu"
    try:
        if on_cpu:
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        else:
            torch.accelerator.reset_peak_memory_stats(device)
        torch.autograd.backward(loss(batch))
    except (torch.OutOfMemoryError, MemoryError):
        return None
    finally:
        model.zero_grad(set_to_none=True)
    return _high_water_bytes() if on_cpu else int(torch.accelerator.max_memory_allocated(device))


def most_rows(peak: Callable[[int], int | None], limit: int, rows: int) -> tuple[int, int]:
    """The most rows, up to `rows`, whose step stays below `limit` bytes, and its peak: doubled, then interpolated.

    A try whose straight line through the last two leads over the limit is not made; a machine without room survives.
    """
    best, at, seen = (0, 0), 1, list[tuple[int, int]]()
    while at <= rows:
        found = peak(at)
        if found is None or found > limit:
            break
        seen, best = [*seen, (at, found)][-2:], (at, found)
        if len(seen) == 1:
            following = at * 2
        else:
            (one, low), (two, high) = seen
            slope = max(1.0, (high - low) / (two - one))
            following = min(at * 2, int(at + (limit - high) / slope))
        at = min(max(following, at + 1), rows) if at < rows and following > at else rows + 1
    return best


def _high_water_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0
