"""Writing checkpoints while a run goes: every so many steps, at the end of an epoch, and when it is told to stop."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from hotline import digests
from hotline.errors import UnavailableError
from training import distributed, memory
from training.batches import Batches
from training.checkpoint import STATE, Found, Header, Stopped, Store, check
from training.launching import is_loss_of_a_rank
from training.recipe import Recipe

PLACES = ("devices", "nodes", "accelerator", "deepspeed", "accumulate", "log_steps", "checkpoint_steps", "keep")
"""Of a recipe's trainer section, what says where and how a run goes and not what it computes."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeping:
    """Where a run's checkpoints go, and the one that it goes on from."""

    store: Store
    snapshot: str
    run: str | None = None
    resume: Found | None = None
    anyway: bool = False


def identity(recipe: Recipe, keeping: Keeping, data: Batches, model: torch.nn.Module) -> Header:
    """The header of this run, before its first step."""
    described = recipe.model_dump(mode="json")
    described["trainer"] = {name: value for name, value in described["trainer"].items() if name not in PLACES}
    return Header(
        step=0,
        epoch=0,
        position=0,
        ranks=data.ranks,
        zero_stage=None if recipe.trainer.deepspeed is None else memory.zero_stage(recipe.trainer),
        snapshot=keeping.snapshot,
        recipe=digests.of_value(described),
        plan=data.plan.digest,
        shapes={name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        run=keeping.run,
    )


class Keeper(pl.Callback):
    """Writes checkpoints and, once told to stop, ends the run with one."""

    def __init__(self, keeping: Keeping, header: Header, recipe: Recipe) -> None:
        self.keeping, self.header, self.store = keeping, header, keeping.store
        self.every, self.accumulate = recipe.trainer.checkpoint_steps, recipe.trainer.accumulate
        self.told_to_stop = False
        self._restore: Callable[[], Any] = lambda: None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take over SIGTERM from Lightning, whose handler broadcasts in the middle of other collectives."""
        _load_own(self.keeping.resume, trainer, module)
        if threading.current_thread() is threading.main_thread():  # Ray Train's functions run in another
            before = signal.signal(signal.SIGTERM, self._stop)
            self._restore = lambda: signal.signal(signal.SIGTERM, before)

    def _stop(self, *_: Any) -> None:
        self.told_to_stop = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, _: Any, __: Any, number: int) -> None:
        if (number + 1) % self.accumulate:
            return
        stop = distributed.summed(self.told_to_stop, trainer.strategy.root_device) > 0  # on all at the same step
        last = number + 1 == trainer.num_training_batches
        if stop or (self.every and (last or trainer.global_step % self.every == 0)):
            self._write(trainer, module, number + 1)
        if stop:
            raise Stopped(trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        if trainer.is_global_zero and "validation/loss" in trainer.callback_metrics:
            self.store.score(trainer.global_step, float(trainer.callback_metrics["validation/loss"]))

    def on_exception(self, _: pl.Trainer, __: pl.LightningModule, ___: BaseException) -> None:
        self._restore()

    def on_train_end(self, _: pl.Trainer, __: pl.LightningModule) -> None:
        self._restore()

    def _write(self, trainer: pl.Trainer, module: pl.LightningModule, done: int) -> None:
        """One checkpoint, all ranks together. A rank that cannot write ends the run: the others cannot go on alone."""
        step = trainer.global_step
        partial: Path | None = None
        try:
            partial = trainer.strategy.broadcast(self.store.begin(step) if trainer.is_global_zero else None)
            assert partial is not None
            torch.save({"buffers": dict(module.named_buffers())}, partial / _own(trainer.global_rank))
            trainer.save_checkpoint(partial / STATE)
            if trainer.is_global_zero:
                at = {"step": step, "epoch": trainer.current_epoch, "position": done * trainer.world_size}
                self.store.publish(partial, self.header.model_copy(update=at))
        except (OSError, RuntimeError) as error:
            if is_loss_of_a_rank(error) or not _is_unwritten(error):
                raise
            raise self._unwritten(step, error, partial) from error

    def _unwritten(self, step: int, error: Exception, partial: Path | None) -> UnavailableError:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        return UnavailableError(
            f"the checkpoint of step {step} could not be written",
            where=str(self.store.folder),
            found=getattr(error, "strerror", None) or str(error).splitlines()[0],
            expected="room for one more checkpoint",
            next="make room, then hotline train RECIPE --resume: the checkpoints before it are whole",
        )


def _is_unwritten(error: BaseException) -> bool:
    """Whether the disk is the reason. PyTorch's writer hides it behind a position that it did not reach."""
    return isinstance(error, OSError) or re.search(r"writ|inline_container", str(error)) is not None


def _own(rank: int) -> str:
    return f"rank-{rank:05d}.pt"


def _load_own(found: Found | None, trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """This rank's buffers: DeepSpeed writes those of the first rank only, and batch statistics differ."""
    path = found.folder / _own(trainer.global_rank) if found else None
    if path is None or not path.is_file() or (found and found.header.ranks != trainer.world_size):
        return
    saved: Mapping[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["buffers"]
    for name, buffer in module.named_buffers():
        buffer.copy_(saved[name])


def position(found: Found, now: Header, anyway: bool) -> tuple[int, int]:
    """The epoch and the micro-batches of its global order that are done, after every check of `check`.

    When told to go on over another plan, the epoch begins again: its order is another one.
    """
    check(found, now, anyway)
    then = found.header
    return then.epoch, then.position if then.plan == now.plan else 0


def rewound(loops: dict[str, Any], done: int) -> None:
    """Set Lightning's loops to `done` micro-batches of this rank's in the epoch that they were in."""
    progress = loops["fit_loop"]["epoch_loop.batch_progress"]
    before = progress["total"]["processed"] - progress["current"]["processed"]
    for part, offset in (("current", 0), ("total", before)):
        # as Lightning saves it at the end of a training batch: done, not yet completed
        progress[part] |= dict.fromkeys(("ready", "started", "processed"), done + offset)
        progress[part]["completed"] = done + offset - (1 if done else 0)
    progress["is_last_batch"] = progress["is_last_batch"] and done > 0
