"""Every row once per epoch, the same work for every rank, and the same draw for a row wherever it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.batches import EpochBatches, draws


@given(
    rows=st.integers(1, 300),
    batch_rows=st.integers(1, 40),
    ranks=st.integers(1, 5),
    epoch=st.integers(0, 3),
    sized=st.booleans(),
)
def test_every_row_comes_once_per_epoch_and_every_rank_has_as_many_batches(
    rows: int, batch_rows: int, ranks: int, epoch: int, sized: bool
) -> None:
    sizes = np.random.default_rng(rows).random(rows).tolist() if sized else None
    per_rank = []
    for rank in range(ranks):
        batches = EpochBatches(rows, batch_rows, 3, sizes=sizes, rank=rank, ranks=ranks)
        batches.set_epoch(epoch)
        per_rank.append(list(batches))
        assert len(per_rank[-1]) == len(batches)
    seen = [row for batches in per_rank for batch in batches for row in batch]
    assert sorted(seen) == list(range(rows))
    assert max(len(batch) for batches in per_rank for batch in batches) <= batch_rows


def test_another_epoch_has_another_order_and_the_same_epoch_the_same() -> None:
    def order(epoch: int) -> list[list[int]]:
        batches = EpochBatches(100, 8, 3, sizes=[float(n % 7) for n in range(100)], ranks=2)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_rows_of_similar_size_share_a_batch() -> None:
    sizes = np.random.default_rng(0).uniform(1, 10, 2000)
    spread = [np.ptp(sizes[batch]) for batch in EpochBatches(2000, 10, 3, sizes=sizes.tolist())]
    assert np.median(spread) < 0.5


def test_a_row_is_drawn_for_by_seed_epoch_and_id_alone() -> None:
    def drawn(ids: list[str], seed: int, epoch: int) -> list[float]:
        return [draw.random() for draw in draws(ids, seed, epoch)]

    alone, among = drawn(["b"], 1, 2)[0], drawn(["a", "b", "c"], 1, 2)[1]
    assert alone == among
    assert len({alone, drawn(["b"], 2, 2)[0], drawn(["b"], 1, 3)[0], drawn(["c"], 1, 2)[0]}) == 4


def test_a_batch_size_that_does_not_divide_loses_no_row_to_a_rank() -> None:
    sizes = [len(list(EpochBatches(7, 2, 0, rank=rank, ranks=2))) for rank in (0, 1)]
    assert sizes == [2, 2]


@pytest.mark.parametrize("ranks", [1, 2])
def test_batches_of_texts_are_not_sorted_by_size(ranks: int) -> None:
    first = next(iter(EpochBatches(1000, 10, 3, ranks=ranks)))
    assert first != sorted(first)
