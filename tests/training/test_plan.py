"""An epoch is a list of micro-batches: nothing is lost, nothing comes twice, and nobody waits for anybody."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.batches import Turns, draws
from training.plan import Plan, Rules

RULES = st.one_of(
    st.builds(Rules, batch_rows=st.integers(1, 40), sorted_by_size=st.booleans(), per_step=st.integers(1, 6)),
    st.builds(Rules, budget=st.integers(20, 400), per_step=st.integers(1, 6)),
    st.builds(Rules, budget=st.integers(20, 400), packing=st.just(True), per_step=st.integers(1, 6)),
    st.builds(
        Rules,
        budget=st.integers(200, 400),
        packing=st.just(True),
        sequence=st.integers(20, 200),
        per_step=st.integers(1, 6),
    ),
)


def plan(rows: int, rules: Rules, largest: int = 60) -> Plan:
    draw = np.random.default_rng(rows)
    return Plan(draw.integers(1, largest, rows), draw.integers(1, 9, rows), rules, 3)


def hotline_lengths(rows: int, middle: float) -> np.ndarray:  # type: ignore[type-arg]
    """Lengths as hotlines have them: many short, few long."""
    return np.random.default_rng(1).lognormal(np.log(middle), 0.8, rows).astype(int).clip(30, 3000)


@given(rows=st.integers(1, 300), rules=RULES, epoch=st.integers(0, 3))
def test_every_row_is_trained_once_or_counted_as_dropped(rows: int, rules: Rules, epoch: int) -> None:
    made = plan(rows, rules)
    numbered = made.epoch(epoch)
    trained = [row for n in range(len(numbered)) if numbered.weights[n] for row in numbered.micro_batch(n).rows]
    assert sorted([*trained, *made.dropped.tolist()]) == list(range(rows))
    count = made.accounting(epoch)
    assert count.size_in == count.size_trained + count.size_dropped
    assert count.size_trained == made.sizes[trained].sum()
    assert count.size_padded >= count.size_trained


@given(rows=st.integers(1, 300), rules=RULES, epoch=st.integers(0, 3))
def test_no_micro_batch_is_larger_than_the_rules_allow(rows: int, rules: Rules, epoch: int) -> None:
    made = plan(rows, rules)
    numbered = made.epoch(epoch)
    for n in range(len(numbered)):
        chosen = numbered.micro_batch(n)
        sizes = made.sizes[chosen.rows]
        if rules.packing:
            assert chosen.packs is not None
            assert [row for pack in chosen.packs for row in pack] == list(range(len(chosen.rows)))
            assert all(sizes[pack].sum() <= (rules.longest or 0) for pack in chosen.packs)
            assert len(chosen.packs) * (rules.longest or 0) <= (rules.budget or 0)
        elif rules.budget:
            assert sizes.max() * len(sizes) <= rules.budget
        else:
            assert 0 < len(sizes) <= (rules.batch_rows or 0)


@given(rows=st.integers(1, 300), rules=RULES)
def test_every_epoch_has_as_many_steps_and_every_step_as_many_micro_batches(rows: int, rules: Rules) -> None:
    made = plan(rows, rules)
    epochs = [made.epoch(number) for number in range(4)]
    assert {epoch.steps for epoch in epochs} == {made.steps}
    assert all(len(epoch) == epoch.steps * rules.per_step for epoch in epochs)


@given(rows=st.integers(1, 300), rules=RULES)
def test_the_shares_of_a_step_make_the_mean_over_its_weight(rows: int, rules: Rules) -> None:
    made = plan(rows, rules)
    epoch = made.epoch(1)
    for first in range(0, len(epoch), rules.per_step):
        chosen = [epoch.micro_batch(first + n) for n in range(rules.per_step)]
        assert sum(each.share for each in chosen) == pytest.approx(rules.per_step)
        weights = [made.weights[each.rows].sum() for each in chosen if each.share]
        shares = [each.share for each in chosen if each.share]
        assert np.allclose(np.divide(shares, weights), shares[0] / weights[0])


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("rules", [Rules(batch_rows=7, per_step=4), Rules(budget=300, per_step=4)])
def test_the_global_order_is_the_same_on_any_number_of_ranks(rules: Rules, ranks: int) -> None:
    made = plan(200, rules)
    turns = [list(Turns(made, rank=rank, ranks=ranks, epoch=2)) for rank in range(ranks)]
    assert len({len(each) for each in turns}) == 1
    together = [number for step in zip(*turns, strict=True) for number in step]
    assert together == list(range(len(made.epoch(2))))


def test_a_position_is_restored_to_the_same_rest_of_the_epoch() -> None:
    made = plan(200, Rules(budget=300, per_step=4))
    whole = list(Turns(made, rank=1, ranks=2, epoch=3))
    assert list(Turns(made, rank=1, ranks=2, epoch=3, start=5)) == whole[5:]


def test_another_epoch_has_another_order_and_the_same_epoch_the_same() -> None:
    def order(epoch: int) -> list[int]:
        return plan(100, Rules(budget=300)).epoch(epoch).order.tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(batch_rows=16, sorted_by_size=True, per_step=2),
        Rules(budget=24_000, per_step=2),
        Rules(budget=4096, packing=True, per_step=8),
    ],
    ids=["rows", "budget", "packed"],
)
def test_a_million_rows_are_planned_and_positioned_in_seconds(rules: Rules) -> None:
    sizes = hotline_lengths(1_000_000, 400)
    started = time.process_time()
    made = Plan(sizes, np.ones_like(sizes), rules, 7)
    turns = iter(Turns(made, rank=1, ranks=2, epoch=5, start=1000))
    assert made.epoch(5).micro_batch(next(turns)).rows
    assert time.process_time() - started < 5  # processor seconds; one is usual


def test_little_is_padded_on_lengths_as_hotlines_have_them() -> None:
    sound, text = hotline_lengths(4000, 500), hotline_lengths(4000, 300)
    ones = np.ones(4000, dtype=int)
    assert Plan(sound, ones, Rules(budget=12_000, per_step=2), 1).accounting().useful_ratio > 0.93
    assert Plan(text, ones, Rules(budget=4096, packing=True, per_step=2), 1).accounting().useful_ratio > 0.98


def test_rows_of_similar_size_share_a_batch() -> None:
    made = plan(2000, Rules(batch_rows=10, sorted_by_size=True), largest=1000)
    epoch = made.epoch(0)
    spread = [np.ptp(made.sizes[epoch.micro_batch(n).rows]) for n in range(len(epoch))]
    assert np.median(spread) < 60


def test_rows_are_not_sorted_by_size_unless_asked_to() -> None:
    first = plan(1000, Rules(batch_rows=10)).epoch(0).micro_batch(0).rows
    assert first != sorted(first)


def test_a_row_is_drawn_for_by_seed_epoch_and_id_alone() -> None:
    def drawn(ids: list[str], seed: int, epoch: int) -> list[float]:
        return [draw.random() for draw in draws(ids, seed, epoch)]

    alone, among = drawn(["b"], 1, 2)[0], drawn(["a", "b", "c"], 1, 2)[1]
    assert alone == among
    assert len({alone, drawn(["b"], 2, 2)[0], drawn(["b"], 1, 3)[0], drawn(["c"], 1, 2)[0]}) == 4
