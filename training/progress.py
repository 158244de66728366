"""What a person sees while a run goes: a progress bar on a terminal, a line per epoch in a pipe."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

log = logging.getLogger(__name__)


class EpochLines(pl.Callback):
    """One log line per epoch, from the first rank."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if "step" not in name}
        text = ", ".join(f"{name} {value:.4f}" for name, value in sorted(figures.items()))
        log.info("epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, text)


def callbacks() -> list[Any]:
    """A bar where a person watches, lines where a file does."""
    return [RichProgressBar()] if sys.stderr.isatty() else [EpochLines()]
