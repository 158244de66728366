"""What a recipe would do, before anything starts: its plan, a memory estimate, and batch sizes found by trying."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from data.store import Rows
from hotline import families
from hotline.families import Family
from hotline.settings import Settings
from training import cutting, devices, memory
from training.batches import plan_of
from training.corpus import rows_of, tree_of
from training.plan import Plan
from training.recipe import Recipe

TRIED_BUCKETS = 6
"""Lengths at which `--find-batch` tries, from the shortest rows to the longest."""
USED_SHARE = 0.8
"""Of the memory that is free, what a search may use."""


@dataclass(frozen=True)
class Outlook:
    """A recipe's plan with the model that it is for."""

    recipe: Recipe
    family: Family
    model: torch.nn.Module
    rows: Rows
    plan: Plan
    ranks: int

    def as_dict(self) -> dict[str, Any]:
        """The figures of one epoch, steps of the whole run, and bytes on one device."""
        counted, section = self.plan.accounting(), self.recipe.trainer
        estimated = memory.estimate(self.model, section, self.ranks, self.activations())
        return {
            "recipe": self.recipe.name,
            "unit": families.unit(self.family, self.rows.inputs[0]),
            "ranks": self.ranks,
            **asdict(counted),
            "useful_ratio": round(counted.useful_ratio, 4),
            "epochs": section.max_epochs,
            "total_steps": counted.steps * section.max_epochs,
            "parameters": sum(each.numel() for each in self.model.parameters()),
            "memory_bytes": {**asdict(estimated), "total": estimated.total},
            "memory_how": memory.HOW,
        }

    def activations(self) -> int:
        """Bytes kept for the backward pass of the micro-batch with the largest tensors."""
        epoch = self.plan.epoch(0)
        chosen = epoch.micro_batch(int(np.argmax(epoch.padded)))
        if chosen.packs is not None:
            return memory.kept_for_backward(self.model, lambda: self._loss(self._batch(chosen.rows, chosen.packs)))
        longest = max(chosen.rows, key=lambda row: int(self.plan.sizes[row]))
        one = memory.kept_for_backward(self.model, lambda: self._loss(self._batch([longest])))
        return one * len(chosen.rows)

    def find_batch(self, limit_bytes: int | None = None) -> list[dict[str, int]]:
        """For some lengths from the shortest to the longest: the most rows whose step fits, found by trying."""
        limit = limit_bytes or int(USED_SHARE * devices.free_bytes(next(self.model.parameters()).device))
        sizes = self.plan.sizes[self.plan.kept]
        longest = cutting.edges(sizes)
        chosen = longest[np.unique(np.linspace(0, len(longest) - 1, TRIED_BUCKETS).astype(int))]
        return [self._tried(int(edge), sizes, limit) for edge in chosen]

    def _tried(self, edge: int, sizes: Any, limit: int) -> dict[str, int]:
        inside = self.plan.kept[sizes <= edge]
        row = int(inside[np.argmax(self.plan.sizes[inside])])

        def peak(rows: int) -> int | None:
            return memory.peak_of_step(self.model, self._loss, self._batch([row] * rows))

        rows, found = memory.most_rows(peak, limit, max(1, len(inside)))
        return {"longest": edge, "rows": rows, "budget": rows * edge, "peak_bytes": found, "rows_there": len(inside)}

    def _batch(self, rows: list[int], packs: Any = None) -> Mapping[str, Any]:
        inputs, targets = [self.rows.inputs[n] for n in rows], [self.rows.targets[n] for n in rows]
        packing: Any = {} if packs is None else {"packs": packs}
        batch: Mapping[str, Any] = self.family.prepare(self.model, inputs, targets, **packing)
        device = next(self.model.parameters()).device
        return {name: each.to(device) if hasattr(each, "to") else each for name, each in batch.items()}

    def _loss(self, batch: Mapping[str, Any]) -> torch.Tensor:
        return self.family.loss(self.model, batch)


def outlook(settings: Settings, recipe: Recipe) -> Outlook:
    """The recipe's plan over its snapshot, with a fresh model. Raises what training would raise before a step."""
    task = recipe.find_task()
    snapshot, training, _ = rows_of(settings, recipe, task)
    family = families.find(task.family)
    torch.manual_seed(recipe.seed)
    model = family.create(recipe.model, task, tree_of(snapshot), training.inputs, training.targets).train()
    on_cpu = recipe.trainer.accelerator == "cpu"
    model = model.to(devices.kind("cpu" if on_cpu else "auto"))  # a recipe for GPUs can be planned on a laptop
    ranks = recipe.trainer.devices
    per_step = ranks * recipe.trainer.accumulate
    plan = plan_of(family, model, training, recipe.trainer, recipe.seed, per_step)
    return Outlook(recipe, family, model, training, plan, ranks)
