"""The plan: an epoch as a list of micro-batches, a function of sizes, seed, epoch and global batch alone.

The list does not know ranks. An optimiser step takes `per_step` micro-batches of it, and ranks × accumulation share
them: two ranks, or one that accumulates twice, train the same rows in the same order. Every rank has the same number of
micro-batches by construction. Everything is vectorised: a plan over a million rows is made in seconds, and any position
in it is an index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training import cutting
from training.cutting import Numbers

POOL_STEPS = 32
"""Rows of this many steps are sorted by size together: little padding, and still a random order."""


@dataclass(frozen=True)
class Rules:
    """How rows become micro-batches: a number of rows, or a budget of frames or tokens, perhaps packed."""

    batch_rows: int | None = None
    budget: int | None = None
    """Frames or tokens of a micro-batch, padding included."""
    packing: bool = False
    """Several rows share a sequence."""
    sequence: int | None = None
    """Tokens of a packed sequence; None packs a whole micro-batch into one."""
    sorted_by_size: bool = False
    """Whether `batch_rows` takes rows of similar size."""
    per_step: int = 1
    """Micro-batches of the global batch: ranks × accumulation."""

    @property
    def longest(self) -> int | None:
        """The largest row that fits, in frames or tokens; None fits any."""
        return (self.sequence or self.budget) if self.packing else self.budget


class MicroBatch(NamedTuple):
    """What one rank trains at once."""

    rows: list[int]
    share: float
    """Factor of its mean loss: with it the mean over ranks and accumulation is the mean over the global batch."""
    packs: list[list[int]] | None
    """For each sequence the places, in `rows`, of the rows packed into it."""


@dataclass(frozen=True)
class Accounting:
    """What goes in and what comes of it: size_in = size_trained + size_dropped, rows likewise."""

    rows_in: int
    rows_dropped: int
    size_in: int
    size_trained: int
    size_dropped: int
    size_padded: int
    """Frames or tokens of the tensors, padding included."""
    micro_batches: int
    steps: int

    @property
    def useful_ratio(self) -> float:
        """Of what is computed, the part that is no padding."""
        return self.size_trained / max(1, self.size_padded)


class Plan:
    """Micro-batches of every epoch. Rows larger than the rules allow are left out and listed in `dropped`."""

    def __init__(self, sizes: Sequence[int] | Numbers, weights: Sequence[int] | Numbers, rules: Rules, seed: int):
        self.sizes, self.weights = np.asarray(sizes, dtype=np.int64), np.asarray(weights, dtype=np.int64)
        self.rules, self.seed = rules, seed
        fits = self.sizes <= (rules.longest or np.iinfo(np.int64).max)
        self.kept, self.dropped = np.flatnonzero(fits), np.flatnonzero(~fits)

    def epoch(self, number: int) -> EpochPlan:
        """That epoch's micro-batches."""
        draw = np.random.default_rng([self.seed, number])
        order = self.kept[draw.permutation(len(self.kept))]
        rules, sizes = self.rules, self.sizes
        if not len(order):
            return EpochPlan(self, number, order, order, order, order, None)
        if rules.packing:
            assert rules.budget is not None
            order = cutting.pooled(order, self._pools)
            order, cuts, sequences = cutting.packed(order, sizes, rules.budget, rules.sequence or rules.budget)
        elif rules.budget is not None:
            (order, cuts), sequences = cutting.bucketed(order, sizes, rules.budget), None
        else:
            (order, cuts), sequences = self._by_rows(order), None
        starts, stops = cutting.levelled(cuts, rules.per_step, sequences)
        steps = draw.permutation(len(starts) // rules.per_step)
        turn = (steps[:, None] * rules.per_step + np.arange(rules.per_step)).ravel()
        weights = self._counted(order, starts, stops)
        return EpochPlan(self, number, order, starts[turn], stops[turn], weights[turn], sequences)

    @cached_property
    def _pools(self) -> Numbers:
        """For every row the number of the pool that it is packed in."""
        pools = np.zeros(len(self.sizes), dtype=np.int64)
        shuffled = np.random.default_rng(self.seed).permutation(self.kept)
        pools[shuffled] = np.arange(len(shuffled)) // cutting.PACKING_POOL
        return pools

    def _by_rows(self, order: Numbers) -> tuple[Numbers, Numbers]:
        """The order, and the places where it is cut into even parts of at most `batch_rows`."""
        rows, at_once = self.rules.batch_rows or 1, (self.rules.batch_rows or 1) * self.rules.per_step
        if self.rules.sorted_by_size:
            pool = np.arange(len(order)) // (POOL_STEPS * at_once)
            order = order[np.lexsort((self.sizes[order], pool))]
        parts = -(-len(order) // at_once) * self.rules.per_step
        even, longer = divmod(len(order), parts)
        assert even <= rows
        lengths = np.full(parts, even) + (np.arange(parts) < longer)
        return order, np.concatenate([[0], np.cumsum(lengths[lengths > 0])])

    def _counted(self, order: Numbers, starts: Numbers, stops: Numbers) -> Numbers:
        """The weight of each micro-batch; nothing for one that only keeps ranks level."""
        summed = np.concatenate([[0], np.cumsum(self.weights[order])])
        repeats = np.concatenate([[False], starts[1:] < stops[:-1]])
        return np.where(repeats, 0, summed[stops] - summed[starts])

    @cached_property
    def digest(self) -> str:
        """Of everything that the order depends on."""
        content = self.sizes.astype("<i8").tobytes() + self.weights.astype("<i8").tobytes()
        return hashlib.sha256(content + repr((self.rules, self.seed)).encode()).hexdigest()

    @cached_property
    def steps(self) -> int:
        """Optimiser steps of one epoch: every epoch has as many, whatever its order."""
        return self.epoch(0).steps

    def accounting(self, number: int = 0) -> Accounting:
        """Rows, frames or tokens of one epoch: what goes in, is trained, is dropped, is padded."""
        epoch = self.epoch(number)
        return Accounting(
            rows_in=len(self.sizes),
            rows_dropped=len(self.dropped),
            size_in=int(self.sizes.sum()),
            size_trained=int(self.sizes[epoch.order].sum()),
            size_dropped=int(self.sizes[self.dropped].sum()),
            size_padded=int(epoch.padded.sum()),
            micro_batches=len(epoch.starts),
            steps=epoch.steps,
        )


@dataclass(frozen=True)
class EpochPlan:
    """One epoch: slices of an order of rows."""

    plan: Plan
    number: int
    order: Numbers
    starts: Numbers
    stops: Numbers
    weights: Numbers
    sequences: Numbers | None
    """Where in the order a packed sequence begins."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def steps(self) -> int:
        return len(self.starts) // self.plan.rules.per_step

    def micro_batch(self, number: int) -> MicroBatch:
        """The micro-batch at that place of the global order."""
        start, stop, per_step = int(self.starts[number]), int(self.stops[number]), self.plan.rules.per_step
        first = number - number % per_step
        whole = max(1, int(self.weights[first : first + per_step].sum()))
        packs = None if self.sequences is None else self._packs(start, stop)
        return MicroBatch(self.order[start:stop].tolist(), int(self.weights[number]) * per_step / whole, packs)

    def _packs(self, start: int, stop: int) -> list[list[int]]:
        assert self.sequences is not None
        inside = self.sequences[np.searchsorted(self.sequences, start) : np.searchsorted(self.sequences, stop)]
        edges = [*(inside - start).tolist(), stop - start]
        return [list(range(a, b)) for a, b in pairwise(edges)]

    @cached_property
    def useful(self) -> npt.NDArray[np.int64]:
        """Frames or tokens of each micro-batch's rows; nothing for one that only keeps ranks level."""
        summed = np.concatenate([[0], np.cumsum(self.plan.sizes[self.order])])
        return np.where(self.weights > 0, summed[self.stops] - summed[self.starts], 0)

    @cached_property
    def padded(self) -> npt.NDArray[np.int64]:
        """Frames or tokens of each micro-batch's tensors."""
        sizes = self.plan.sizes[self.order]
        if self.sequences is None or not len(sizes):
            return np.asarray(self._largest(sizes) * (self.stops - self.starts), dtype=np.int64)
        lengths = np.add.reduceat(sizes, self.sequences)
        first, last = (np.searchsorted(self.sequences, place) for place in (self.starts, self.stops))
        return np.array([lengths[a:b].max() * (b - a) for a, b in zip(first, last, strict=True)], dtype=np.int64)

    def _largest(self, sizes: Numbers) -> Any:
        """The largest size in every micro-batch."""
        if not len(sizes):
            return np.zeros(0, np.int64)
        inner = np.stack([self.starts, self.stops], axis=1).ravel()
        return np.maximum.reduceat(np.append(sizes, 0), inner)[::2]
