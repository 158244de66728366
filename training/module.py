"""The one LightningModule: it serves every family through the family's plain functions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from hotline.families import Family
from training.keeping import rewound
from training.recipe import Recipe


def learning_rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear from 0 to 1 over the warm-up, then linear down to 0 at `steps`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return max(0.0, (steps - step) / max(1, steps - warmup_steps))


class FamilyModule(pl.LightningModule):
    """Loss and optimiser around a family's model.

    `steps` is the number of optimiser steps of the whole run; it comes from the plan, because asking the trainer
    (`estimated_stepping_batches`) starts the data workers early. Randomness (dropout) is seeded by seed, epoch and the
    micro-batch's number: there is no state of it to lose, and it does not know ranks.
    """

    def __init__(self, family: Family, model: torch.nn.Module, recipe: Recipe, steps: int) -> None:
        super().__init__()
        self.fused = "mixed" not in recipe.trainer.precision  # Lightning cannot clip a fused optimiser's gradients then
        self.family, self.model, self.steps = family, model, steps
        self.optimiser, self.seed = recipe.optimiser, recipe.seed
        self.step_loss: torch.Tensor | float = 0.0
        """Of the optimiser step so far, this rank's part."""
        self.done: int | None = None
        """Micro-batches of this rank's that a resumed epoch has behind it."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.done is not None:
            rewound(checkpoint["loops"], self.done)

    def loss_of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The family's mean loss of a batch."""
        return self.family.loss(self.model, tensors)

    def training_step(self, batch: tuple[Mapping[str, torch.Tensor], float, int], _: int) -> torch.Tensor:
        tensors, share, number = batch
        reseed(self.seed, self.current_epoch, number)
        loss = self.loss_of(tensors)
        self.log("train/loss", loss.detach(), prog_bar=True, logger=False, batch_size=1)
        scaled = loss * share
        self.step_loss = self.step_loss + scaled.detach() / self.trainer.accumulate_grad_batches
        # Lightning divides by the accumulation, and DeepSpeed does once more.
        again = self.trainer.accumulate_grad_batches if self.trainer.strategy.handles_gradient_accumulation else 1
        return scaled * again if again > 1 else scaled

    def validation_step(self, batch: tuple[Mapping[str, torch.Tensor], int], _: int) -> None:
        tensors, weight = batch
        loss = self.loss_of(tensors)
        self.log("validation/loss", loss, prog_bar=True, batch_size=weight, sync_dist=True)

    def configure_optimizers(self) -> Any:
        groups = self.family.parameter_groups(self.model, self.optimiser.learning_rate, self.optimiser.weight_decay)
        optimiser = torch.optim.AdamW(groups, betas=self.optimiser.betas, fused=self.fused)
        warmup_steps = int(self.steps * self.optimiser.warmup_share)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, self.steps, warmup_steps)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def reseed(*numbers: int) -> None:
    """Seed every generator that a model may draw from."""
    one, two = np.random.SeedSequence(numbers).generate_state(2)
    torch.manual_seed(int(one) << 32 | int(two))
    np.random.seed(int(one))
    random.seed(int(one))
