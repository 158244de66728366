"""The plan's micro-batches as tensors: which rank trains which, from which position on."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from data.store import Rows
from hotline import families
from hotline.errors import InputError, RecipeError
from hotline.families import Family
from training.plan import MicroBatch, Plan, Rules
from training.recipe import TrainerSection

Tensors = Mapping[str, torch.Tensor]
log = logging.getLogger(__name__)
NAMED = 3
"""Of the rows that do not fit a budget, so many are named."""


class Turns(Sampler[int]):
    """One rank's micro-batches of an epoch, by their numbers in the global order; any position is an index."""

    def __init__(self, plan: Plan, *, rank: int = 0, ranks: int = 1, epoch: int = 0, start: int = 0) -> None:
        self.plan, self.rank, self.ranks, self.start = plan, rank, ranks, start
        self.epoch = plan.epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Lightning tells every epoch before it begins; a position holds for the epoch it was given for."""
        if epoch != self.epoch.number:
            self.epoch, self.start = self.plan.epoch(epoch), 0

    def __len__(self) -> int:
        return len(self.epoch) // self.ranks

    def __iter__(self) -> Iterator[int]:
        yield from range(self.start * self.ranks + self.rank, len(self.epoch), self.ranks)


def draws(ids: Sequence[str], seed: int, epoch: int) -> list[np.random.Generator]:
    """One generator per row, seeded by seed, epoch and row id: a row is augmented the same on whatever rank it is."""
    numbers = [int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "little") for id in ids]
    return [np.random.default_rng([seed, epoch, number]) for number in numbers]


def rules_of(section: TrainerSection, rows: Rows, per_step: int) -> Rules:
    """How the recipe cuts these rows. Sound in batches of rows is sorted by size; a budget sorts everything."""
    spoken = bool(rows.inputs) and families.is_sound(rows.inputs[0])
    return Rules(section.batch_rows, section.budget, section.packing, section.sequence, spoken, per_step)


def plan_of(family: Family, model: Any, rows: Rows, section: TrainerSection, seed: int, per_step: int) -> Plan:
    """The plan of those rows. Raises InputError for a row longer than the budget, unless the recipe drops such rows.

    Raises RecipeError for packing in a family that does not pack.
    """
    if section.packing and not families.packs(family):
        raise RecipeError("this family does not pack", where="trainer.packing", next="set a budget without packing")
    sizes = families.measured(family, model, rows.inputs, rows.targets)
    rules = rules_of(section, rows, per_step)
    plan = Plan([size for size, _ in sizes], [weight for _, weight in sizes], rules, seed)
    if len(plan.dropped):
        unit = families.unit(family, rows.inputs[0])
        if section.too_long == "refuse" or not len(plan.kept):
            _refuse(plan, rows, unit)
        lost = int(plan.sizes[plan.dropped].sum())
        log.info(
            "%d of %d rows are longer than the budget and dropped: %d %s", len(plan.dropped), len(rows), lost, unit
        )
    return plan


def _refuse(plan: Plan, rows: Rows, unit: str) -> None:
    longest = plan.dropped[np.argsort(-plan.sizes[plan.dropped])]
    named = [f"{rows.ids[number]} ({plan.sizes[number]} {unit})" for number in longest[:NAMED]]
    raise InputError(
        f"{len(longest)} of {len(rows)} rows are longer than the budget",
        where="trainer.sequence" if plan.rules.sequence else "trainer.budget",
        found=", ".join(named) + (" …" if len(longest) > NAMED else ""),
        expected=f"at most {plan.rules.longest} {unit}",
        next="raise the budget, cut these rows, or set trainer.too_long: drop; dropped rows are counted",
    )


class Batches(pl.LightningDataModule):
    """Training and validation batches of one of `ranks` ranks. Lightning asks for them once it knows which.

    A training batch is its tensors, the factor of its loss, and its number in the global order; a validation batch its
    tensors and its weight.
    """

    def __init__(
        self,
        family: Family,
        model: Any,
        training: Rows,
        validation: Rows,
        section: TrainerSection,
        seed: int,
        ranks: int = 1,
    ) -> None:
        super().__init__()
        self.family, self.model, self.rows, self.checks = family, model, training, validation
        self.seed, self.ranks, self.epoch, self.start = seed, ranks, 0, 0
        self.seconds = 0.0
        """Spent on making tensors of training rows, until somebody takes note and begins again at 0."""
        self.plan = plan_of(family, model, training, section, seed, ranks * section.accumulate)
        self.check_plan = plan_of(family, model, validation, section, seed, ranks)

    def go_on(self, epoch: int, position: int) -> None:
        """Begin at that position of the epoch's global order; after its last micro-batch, at the next epoch."""
        over = position >= len(self.plan.epoch(epoch))
        self.epoch, self.start = (epoch + 1, 0) if over else (epoch, position // self.ranks)

    def train_dataloader(self) -> DataLoader[Any]:
        turns = Turns(self.plan, rank=self._rank, ranks=self.ranks, epoch=self.epoch, start=self.start)

        def collate(number: Any) -> tuple[Tensors, float, int]:
            started, chosen = time.perf_counter(), turns.epoch.micro_batch(number)
            drawn = draws([self.rows.ids[row] for row in chosen.rows], self.seed, turns.epoch.number)
            tensors = self._prepared(self.rows, chosen, drawn)
            self.seconds += time.perf_counter() - started
            return tensors, chosen.share, number

        return DataLoader(_Numbers(), batch_size=None, sampler=turns, collate_fn=collate)

    def val_dataloader(self) -> DataLoader[Any]:
        """Every rank's share of the validation rows, as many micro-batches on each."""
        turns = Turns(self.check_plan, rank=self._rank, ranks=self.ranks)

        def collate(number: Any) -> tuple[Tensors, int]:
            return self._prepared(self.checks, turns.epoch.micro_batch(number)), int(turns.epoch.weights[number])

        return DataLoader(_Numbers(), batch_size=None, sampler=turns, collate_fn=collate)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _prepared(self, rows: Rows, chosen: MicroBatch, drawn: list[np.random.Generator] | None = None) -> Tensors:
        inputs, targets = [rows.inputs[n] for n in chosen.rows], [rows.targets[n] for n in chosen.rows]
        if chosen.packs is None:
            return self.family.prepare(self.model, inputs, targets, drawn)
        return self.family.prepare(self.model, inputs, targets, drawn, packs=chosen.packs)  # type: ignore[call-arg]


class _Numbers(torch.utils.data.Dataset[int]):
    """Every number is itself: what a micro-batch is, the plan says."""

    def __getitem__(self, number: int) -> int:
        return number
