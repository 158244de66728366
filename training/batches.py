"""Which rows make a batch: a function of seed and epoch, so that a run can be repeated and resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from data.store import Rows
from hotline.families import Family


class EpochBatches(Sampler[list[int]]):
    """Batches of row numbers, shuffled by (seed, epoch); every row once per epoch."""

    def __init__(self, rows: int, batch_rows: int, seed: int) -> None:
        self.rows, self.batch_rows, self.seed, self.epoch = rows, batch_rows, seed, 0
        self.sampler = self  # Lightning tells the epoch to batch_sampler.sampler, never to the batch sampler itself

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.batch_rows)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.rows)
        for start in range(0, self.rows, self.batch_rows):
            yield order[start : start + self.batch_rows].tolist()


def _collate(family: Family, model: Any, rows: Rows) -> Callable[[Sequence[int]], Mapping[str, torch.Tensor]]:
    def collate(numbers: Sequence[int]) -> Mapping[str, torch.Tensor]:
        return family.prepare(model, [rows.inputs[n] for n in numbers], [rows.targets[n] for n in numbers])

    return collate


def training_loader(family: Family, model: Any, rows: Rows, batch_rows: int, seed: int) -> DataLoader[Any]:
    """Shuffled batches for training."""
    batches = EpochBatches(len(rows), batch_rows, seed)
    return DataLoader(range(len(rows)), batch_sampler=batches, collate_fn=_collate(family, model, rows))  # type: ignore[arg-type]


def validation_loader(family: Family, model: Any, rows: Rows, batch_rows: int) -> DataLoader[Any]:
    """The rows in order."""
    return DataLoader(range(len(rows)), batch_size=batch_rows, collate_fn=_collate(family, model, rows))  # type: ignore[arg-type]
