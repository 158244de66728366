"""How fast a run goes and where its time is spent, logged at the end of every epoch.

`throughput/audio_seconds_per_second` or `…/tokens_per_second` counts useful frames or tokens of all ranks: padding is
work, but not throughput. The parts of a step are shares of the time: `data_wait` (rows becoming tensors), `forward`,
`backward`, `optimiser`, `communication` (exchanges between ranks, waiting for slower ones included) and `rest`
(transfer, logging, checkpoints). On a device that queues work, every `SAMPLED`th step is measured with
synchronisation, so that nothing overlaps in it; on a CPU every step.

`throughput/scaling_efficiency`, with more than one rank, is the part of the measured time that ranks do not spend on
one another: 1 when they never wait. It is what N ranks make of N times one rank's speed, as long as one rank alone
would not find more memory bandwidth or cache on its machine (parallel efficiency; Rosas, Giménez and Labarta 2014).
"""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from hotline.families import FRAMES_PER_SECOND
from training.batches import Batches
from training.communication import Exchanges
from training.devices import synchronise
from training.distributed import summed

PARTS = ("data_wait", "forward", "backward", "optimiser", "communication", "rest")
SAMPLED = 20
BACKWARD_COSTS = 2
"""Of a forward pass, in floating-point operations."""


class Meter(pl.Callback):
    """Logs what the module says above; with the device's matrix rate also MFU."""

    def __init__(self, data: Batches, unit: str, rate: float | None = None) -> None:
        self.data, self.unit, self.rate = data, unit, rate
        self.flops_per_size = 0.0
        self.exchanges: Exchanges | None = None
        self.epoch = data.plan.epoch(data.epoch)
        self._begin()

    def _begin(self) -> None:
        self.spent = dict.fromkeys(PARTS, 0.0)
        self.useful = self.padded = 0
        self.started = self.mark = time.perf_counter()
        self.sampled, self.data.seconds = True, 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, number: int) -> None:
        if self.epoch.number != trainer.current_epoch:  # a resumed epoch has no start of its own
            self.epoch = self.data.plan.epoch(trainer.current_epoch)
        waited, self.data.seconds = self.data.seconds, 0.0
        self._spend("rest", trainer)
        if self.sampled:
            self.spent["data_wait"] += waited
            self.spent["rest"] -= waited
        if self.rate and not self.flops_per_size:
            self._count_operations(module, batch)
            self.mark = time.perf_counter()

    def on_before_backward(self, trainer: pl.Trainer, _: pl.LightningModule, __: torch.Tensor) -> None:
        self._spend("forward", trainer)

    def on_after_backward(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self._spend("backward", trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, _: pl.LightningModule, __: Any, ___: Any, number: int) -> None:
        self._spend("optimiser", trainer)
        first, ranks = number * self.data.ranks, self.data.ranks
        self.useful += int(self.epoch.useful[first : first + ranks].sum())
        self.padded += int(self.epoch.padded[first : first + ranks].sum())
        self.sampled = trainer.strategy.root_device.type == "cpu" or (number + 1) % SAMPLED == 0
        self._listen(self.sampled)
        self.mark = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self.exchanges = Exchanges() if self.data.ranks > 1 else None  # the ranks have met by now
        self._begin()
        self._listen(self.sampled)

    def on_train_epoch_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        self._listen(False)  # what validation exchanges is no part of a step
        figures = self.figures(self.mark - self.started)  # validation came after the last batch
        figures |= self._scaling(trainer)
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
        self._begin()
        self._listen(self.sampled)

    def figures(self, seconds: float) -> dict[str, float]:
        """Throughput, useful ratio, shares of time and MFU of the epoch so far."""
        speed = self.useful / seconds
        found = {f"throughput/{self.unit}_per_second": speed}
        if self.unit == "frames":
            found = {"throughput/audio_seconds_per_second": speed / FRAMES_PER_SECOND}
        found["throughput/useful_ratio"] = self.useful / max(1, self.padded)
        whole = sum(self.spent.values()) or 1.0
        found |= {f"throughput/share_{part}": spent / whole for part, spent in self.spent.items()}
        if self.rate and self.flops_per_size:
            operations = (1 + BACKWARD_COSTS) * self.flops_per_size * self.padded
            found["throughput/mfu"] = operations / seconds / self.rate / self.data.ranks
        return found

    def _spend(self, part: str, trainer: pl.Trainer) -> None:
        if not self.sampled:
            return
        synchronise(trainer.strategy.root_device)
        now = time.perf_counter()
        exchanging = self.exchanges.seconds() if self.exchanges else 0.0
        self.spent[part] += now - self.mark - exchanging
        self.spent["communication"] += exchanging
        self.mark = now

    def _listen(self, on: bool) -> None:
        if self.exchanges:
            self.exchanges.listen(on)

    def _scaling(self, trainer: pl.Trainer) -> dict[str, float]:
        """The mean over ranks of what is not communication; every rank asks, for all of them."""
        if not self.exchanges or not self.exchanges.heard:
            return {}
        whole = sum(self.spent.values()) or 1.0
        busy = summed(1 - self.spent["communication"] / whole, trainer.strategy.root_device)
        return {"throughput/scaling_efficiency": busy / self.data.ranks}

    def _count_operations(self, module: Any, batch: Any) -> None:
        """Floating-point operations of a forward pass, per frame or token of its tensors."""
        tensors, _, number = batch
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module.loss_of(tensors)
        self.flops_per_size = counter.get_total_flops() / max(1, int(self.epoch.padded[number]))


def matrix_rate(device: torch.device, dtype: torch.dtype, width: int, seconds: float = 0.5) -> float:
    """Floating-point operations per second of square matrix products on that device: what MFU is measured against."""
    one, other = (torch.randn(width, width, device=device, dtype=dtype) for _ in range(2))

    for _ in range(3):
        torch.mm(one, other)
    synchronise(device)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        for _ in range(4):
            torch.mm(one, other)
        synchronise(device)
        done += 4
    return done * 2 * width**3 / (time.perf_counter() - started)
