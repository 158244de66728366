"""The one LightningModule: it serves every family through the family's plain functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from hotline.families import Family
from training.recipe import OptimiserSection


def learning_rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear from 0 to 1 over the warm-up, then linear down to 0 at `steps`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return max(0.0, (steps - step) / max(1, steps - warmup_steps))


class FamilyModule(pl.LightningModule):
    """Loss and optimiser around a family's model.

    `steps` is the number of optimiser steps of the whole run; it comes from the plan, because asking the trainer
    (`estimated_stepping_batches`) starts the data workers early.
    """

    def __init__(self, family: Family, model: torch.nn.Module, optimiser: OptimiserSection, steps: int) -> None:
        super().__init__()
        self.family, self.model, self.optimiser, self.steps = family, model, optimiser, steps

    def training_step(self, batch: Mapping[str, torch.Tensor], _: int) -> torch.Tensor:
        loss = self.family.loss(self.model, batch)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=_rows(batch))
        return loss

    def validation_step(self, batch: Mapping[str, torch.Tensor], _: int) -> None:
        loss = self.family.loss(self.model, batch)
        self.log("validation/loss", loss, prog_bar=True, batch_size=_rows(batch), sync_dist=True)

    def configure_optimizers(self) -> Any:
        groups = self.family.parameter_groups(self.model, self.optimiser.learning_rate, self.optimiser.weight_decay)
        optimiser = torch.optim.AdamW(groups, betas=self.optimiser.betas, fused=True)
        warmup_steps = int(self.steps * self.optimiser.warmup_share)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, self.steps, warmup_steps)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _rows(batch: Mapping[str, torch.Tensor]) -> int:
    return len(next(iter(batch.values())))
