"""Is it more than chance? Tests with known answers, and how often they cry wolf."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.significance import approximate_randomisation, holm, mapsswe, mcnemar
from hotline.scores import accuracy
from hotline.spoken_scores import cer


def test_holm_corrects_the_example_of_a_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_nor_turns_an_order_round(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, corrected, strict=True))
    assert all(
        after <= min(1, len(p_values) * before) + 1e-12 for before, after in zip(p_values, corrected, strict=True)
    )
    for (a, a_holm), (b, b_holm) in itertools.combinations(zip(p_values, corrected, strict=True), 2):
        assert (a < b) <= (a_holm <= b_holm)


def rights(both: int, only_a: int, only_b: int) -> tuple[list[int], list[int]]:
    return [1] * (both + only_a) + [0] * only_b, [1] * both + [0] * only_a + [1] * only_b


def test_mcnemar_counts_only_the_rows_on_which_one_is_right() -> None:
    exact = mcnemar(*rights(50, 2, 8))
    assert (exact.statistic, exact.p) == (8, pytest.approx(2 * (1 + 10 + 45) / 1024))
    assert mcnemar(*rights(5000, 2, 8)) == exact
    corrected = mcnemar(*rights(50, 10, 25), exact=False)
    assert (corrected.statistic, corrected.p) == (pytest.approx(14**2 / 35), pytest.approx(0.017960, abs=1e-6))


def test_mcnemar_without_a_difference_is_no_evidence_of_one() -> None:
    assert mcnemar([1, 0, 1], [1, 0, 1]).p == mcnemar([1, 0, 1], [1, 0, 1], exact=False).p == 1
    with pytest.raises(ValueError, match="rows"):
        mcnemar([1, 0], [1])


def test_mapsswe_is_z_of_the_mean_difference_per_segment() -> None:
    found = mapsswe([2, 1, 0, 3, 1], [1, 1, 1, 1, 0])
    assert found.statistic == pytest.approx(-0.6 / np.sqrt(1.3 / 5))
    assert found.p == pytest.approx(0.239316, abs=1e-6)
    assert mapsswe([1, 1, 1, 1, 0], [2, 1, 0, 3, 1]).statistic == pytest.approx(-found.statistic)


def test_mapsswe_of_equal_errors_is_nothing_and_one_segment_is_refused() -> None:
    assert (mapsswe([2, 0, 1], [2, 0, 1]).statistic, mapsswe([2, 0, 1], [2, 0, 1]).p) == (0, 1)
    assert mapsswe([0, 0, 0], [1, 1, 1]).p == 0
    with pytest.raises(ValueError, match="two or more segments"):
        mapsswe([1], [2])


def test_randomisation_comes_to_the_p_of_all_swaps_of_few_rows() -> None:
    a, b = np.zeros(6), np.array([1.0, 2, 3, 4, 5, 6])
    found = approximate_randomisation(a, b, np.arange(6), resamples=20_000)
    assert found.statistic == 3.5
    assert found.p == pytest.approx(2 / 64, abs=0.004)
    assert approximate_randomisation(a, b, np.arange(6), alternative="greater", resamples=20_000).p < found.p
    assert approximate_randomisation(a, b, np.arange(6), alternative="less", resamples=20_000).p == 1


def test_one_caller_with_a_hundred_rows_proves_nothing() -> None:
    a, b, alone = np.zeros(100), np.ones(100), np.arange(100)
    assert approximate_randomisation(a, b, alone).p < 0.001
    assert approximate_randomisation(a, b, alone * 0).p == 1


def test_the_same_answers_are_no_difference_whatever_the_seed() -> None:
    table = np.column_stack([np.arange(30) % 2, np.ones(30)])
    assert approximate_randomisation(table, table, np.arange(30), score=accuracy).p == 1
    a, b = np.arange(30) % 3, np.arange(30) % 4
    one, same, other = (approximate_randomisation(a, b, np.arange(30), seed=seed).p for seed in (1, 1, 2))
    assert one == same != other
    assert one == pytest.approx(other, abs=0.05)


def test_two_equal_systems_are_told_apart_no_more_often_than_promised() -> None:
    draw, trials, found = np.random.default_rng(2), 400, 0
    clusters = np.repeat(np.arange(30), 3)
    for _ in range(trials):
        hard = np.repeat(draw.gamma(4, 0.25, 30), 3)
        tables = []
        for _ in range(2):
            errors = draw.poisson(1.2 * hard * np.repeat(draw.gamma(9, 1 / 9, 30), 3))
            tables.append(np.column_stack([errors, 0 * errors, 0 * errors, 0 * errors + 15]))
        found += approximate_randomisation(*tables, clusters, score=cer, resamples=400).p <= 0.05
    assert found / trials <= 0.08  # 5 % promised, the rest is chance of 400 trials
