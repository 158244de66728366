"""What a person sees while a run goes: the loss, a progress bar on a terminal, a line per epoch in a pipe."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from training import distributed

log = logging.getLogger(__name__)


class EpochLines(pl.Callback):
    """One log line per epoch, from the first rank."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if "step" not in name}
        text = ", ".join(f"{name} {value:.4f}" for name, value in sorted(figures.items()))
        log.info("epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, text)


class Losses(pl.Callback):
    """Logs the loss of the global batch, all ranks together, by the optimiser steps done."""

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, _: Any, __: Any, number: int) -> None:
        if (number + 1) % trainer.accumulate_grad_batches:
            return
        loss, module.step_loss = module.step_loss, 0.0
        if trainer.global_step % self.every == 0:
            whole = distributed.summed(loss, trainer.strategy.root_device) / trainer.world_size
            for logger in trainer.loggers:
                logger.log_metrics({"train/loss": whole}, step=trainer.global_step)


def callbacks(log_steps: int) -> list[Any]:
    """The loss, and a bar where a person watches, lines where a file does."""
    return [Losses(log_steps), RichProgressBar() if sys.stderr.isatty() else EpochLines()]
