"""Which rows make a batch: a function of seed and epoch, so that a run can be repeated and resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from data.store import Rows
from hotline import families
from hotline.families import Family

POOL_STEPS = 32
"""Rows of this many steps are sorted by size together: little padding, and still a random order."""


class EpochBatches(Sampler[list[int]]):
    """One rank's batches of row numbers, shuffled by (seed, epoch); every row once per epoch over all ranks.

    With `sizes`, rows of similar size share a step. Every rank has the same number of batches, by construction.
    """

    def __init__(
        self,
        rows: int,
        batch_rows: int,
        seed: int,
        *,
        sizes: Sequence[float] | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.rows, self.batch_rows, self.seed, self.epoch = rows, batch_rows, seed, 0
        self.sizes, self.rank, self.ranks = None if sizes is None else np.asarray(sizes), rank, ranks
        self.batch_size = batch_rows  # read by the DeepSpeed strategy for its throughput log
        self.sampler = self  # Lightning tells the epoch to batch_sampler.sampler, never to the batch sampler itself

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // (self.batch_rows * self.ranks))

    def __iter__(self) -> Iterator[list[int]]:
        draw = np.random.default_rng([self.seed, self.epoch])
        order = draw.permutation(self.rows)
        if self.sizes is None and self.ranks == 1:
            for start in range(0, self.rows, self.batch_rows):
                yield order[start : start + self.batch_rows].tolist()
            return
        if self.sizes is not None:
            order = self._by_size(order)
        batches = np.array_split(order, len(self) * self.ranks)
        for step in draw.permutation(len(self)):
            yield batches[step * self.ranks + self.rank].tolist()

    def _by_size(self, order: Any) -> Any:
        """The order with the rows of each pool sorted by size."""
        pool = POOL_STEPS * self.batch_rows * self.ranks
        assert self.sizes is not None
        parts = [order[start : start + pool] for start in range(0, self.rows, pool)]
        return np.concatenate([part[np.argsort(self.sizes[part], kind="stable")] for part in parts])


def draws(ids: Sequence[str], seed: int, epoch: int) -> list[np.random.Generator]:
    """One generator per row, seeded by seed, epoch and row id: a row is augmented the same on whatever rank it is."""
    numbers = [int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "little") for id in ids]
    return [np.random.default_rng([seed, epoch, number]) for number in numbers]


class Batches(pl.LightningDataModule):
    """Training and validation batches of this rank. Lightning asks for them once it knows its rank."""

    def __init__(self, family: Family, model: Any, training: Rows, validation: Rows, batch_rows: int, seed: int):
        super().__init__()
        self.family, self.model, self.rows, self.checks = family, model, training, validation
        self.batch_rows, self.seed = batch_rows, seed
        spoken = bool(training.inputs) and families.is_sound(training.inputs[0])
        self.sizes = [families.size(given) for given in training.inputs] if spoken else None

    def steps(self, ranks: int) -> int:
        """Optimiser steps of one epoch."""
        return len(EpochBatches(len(self.rows), self.batch_rows, self.seed, ranks=ranks))

    def train_dataloader(self) -> DataLoader[Any]:
        rank, ranks = self._place()
        batches = EpochBatches(len(self.rows), self.batch_rows, self.seed, sizes=self.sizes, rank=rank, ranks=ranks)
        numbers: Any = range(len(self.rows))
        return DataLoader(numbers, batch_sampler=batches, collate_fn=self._collate(self.rows, batches))

    def val_dataloader(self) -> DataLoader[Any]:
        """Every rank's share of the validation rows, in order."""
        rank, ranks = self._place()
        numbers: Any = range(rank, len(self.checks), ranks) or range(1)
        return DataLoader(numbers, batch_size=self.batch_rows, collate_fn=self._collate(self.checks, None))

    def _place(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    def _collate(
        self, rows: Rows, augmented: EpochBatches | None
    ) -> Callable[[Sequence[int]], Mapping[str, torch.Tensor]]:
        def collate(numbers: Sequence[int]) -> Mapping[str, torch.Tensor]:
            drawn = draws([rows.ids[n] for n in numbers], self.seed, augmented.epoch) if augmented else None
            inputs, targets = [rows.inputs[n] for n in numbers], [rows.targets[n] for n in numbers]
            return self.family.prepare(self.model, inputs, targets, drawn)

        return collate
