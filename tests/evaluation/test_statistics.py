"""Intervals that keep their promise: clustered, paired, honest about few rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import binomtest

from evaluation.resampling import effective_clusters, independent_clusters, resample
from evaluation.statistics import (
    interval,
    intervals,
    minimum_detectable_effect,
    non_inferior,
    paired,
    wilson,
)
from hotline.scores import accuracy, ece, macro_f1

rate = replace(accuracy, bounded=False)
"""Errors per reference token, like a CER: not bounded by 1."""


def hits(right: np.ndarray | list[int]) -> np.ndarray:
    return np.column_stack([np.asarray(right, dtype=float), np.ones(len(right))])


def alone(count: int) -> np.ndarray:
    return np.arange(count)


@dataclass
class Keys:
    provenance: dict[str, list[str]]
    clusters: list[str]


def joined(calls: str, callers: str, clusters: str) -> list[int]:
    return list(independent_clusters(Keys({"call_id": list(calls), "caller_id": list(callers)}, list(clusters))))


def test_rows_chained_by_call_caller_and_near_duplicate_are_one_cluster() -> None:
    assert joined(calls="aabcd", callers="vwwyz", clusters="12334") == [0, 0, 0, 0, 1]
    assert joined(calls="abc", callers="xyz", clusters="123") == [0, 1, 2]
    assert joined("", "", "") == []


def test_the_same_text_in_two_columns_joins_nothing() -> None:
    assert joined(calls="ab", callers="ba", clusters="12") == [0, 1]


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=30))
def test_clusters_share_no_key_with_each_other(rows: list[tuple[int, int, int]]) -> None:
    columns = [[str(value) for value in column] for column in zip(*rows, strict=True)]
    found = independent_clusters(Keys({"call_id": columns[0], "caller_id": columns[1]}, columns[2]))
    assert set(found) == set(range(max(found) + 1))
    for column in columns:
        for value in set(column):
            assert len({int(found[number]) for number, key in enumerate(column) if key == value}) == 1


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_is_the_interval_of_scipy_and_holds_its_share(right: int, more: int) -> None:
    total = right + more
    low, high = wilson(right / total, total)
    expected = binomtest(right, total).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= low <= right / total <= high <= 1


def test_five_right_answers_of_five_are_no_proof_of_95_percent() -> None:
    found = interval(accuracy, hits([1] * 5), alone(5))
    assert (found.estimate, found.high) == (1, 1)
    assert found.low == pytest.approx(0.566, abs=1e-3)


def test_a_perfect_macro_f1_on_few_rows_is_no_proof_either() -> None:
    table = sparse.csr_array(np.hstack([np.eye(5)] * 3))
    assert interval(macro_f1, table, alone(5)).low == pytest.approx(0.566, abs=1e-3)


@given(st.integers(5, 80))
def test_one_more_right_answer_never_lowers_the_interval(count: int) -> None:
    before = interval(accuracy, hits([1] * (count - 1) + [0]), alone(count))
    after = interval(accuracy, hits([1] * count), alone(count))
    assert before.low <= after.low + 1e-9


def test_rows_of_one_caller_count_once() -> None:
    right = np.array([1] * 80 + [0] * 20)
    callers = np.repeat(np.arange(10), 10)
    many, few = interval(accuracy, hits(right), alone(100)), interval(accuracy, hits(right), callers)
    assert (many.clusters, few.clusters) == (100, 10)
    assert few.high - few.low > 2 * (many.high - many.low)


def test_a_single_cluster_says_next_to_nothing() -> None:
    found = interval(accuracy, hits([1] * 50 + [0] * 50), np.zeros(100, dtype=np.int64))
    assert found.low < 0.1 and found.high > 0.9


def test_an_unbounded_score_without_spread_has_no_interval() -> None:
    found = interval(rate, hits([0] * 10), alone(10))
    assert found.estimate == 0
    assert math.isnan(found.low) and math.isnan(found.high)
    difference = paired(hits([0] * 10), hits([0] * 10), alone(10), score=rate)
    assert math.isnan(difference.low)


def test_an_undefined_score_has_no_interval() -> None:
    found = interval(accuracy, np.zeros((10, 2)), alone(10))
    assert math.isnan(found.estimate) and math.isnan(found.low)


def test_sparse_and_dense_statistics_and_any_chunking_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    dense = hits(generator.integers(0, 2, 300))
    clusters = generator.integers(0, 90, 300)
    clusters = np.unique(clusters, return_inverse=True)[1]
    whole = interval(accuracy, dense, clusters, resamples=500, seed=4)
    assert interval(accuracy, sparse.csr_array(dense), clusters, resamples=500, seed=4) == whole
    monkeypatch.setattr("evaluation.resampling.KEPT_CELLS", 0)
    monkeypatch.setattr("evaluation.resampling.CHUNK_CELLS", 1000)
    assert interval(accuracy, dense, clusters, resamples=500, seed=4) == whole
    assert interval(accuracy, dense, clusters, resamples=500, seed=5) != whole


def test_scores_together_are_the_scores_one_by_one() -> None:
    table = sparse.csr_array(np.hstack([np.eye(6)] * 3))
    right = hits([1, 0, 1, 1, 0, 1])
    together = intervals([(accuracy, right), (macro_f1, table)], alone(6), seed=2)
    assert together == [interval(accuracy, right, alone(6), seed=2), interval(macro_f1, table, alone(6), seed=2)]


def test_the_bootstraps_standard_error_is_the_textbooks() -> None:
    right = np.random.default_rng(0).random(2000) < 0.8
    found = interval(accuracy, hits(right), alone(2000), resamples=4000)
    assert found.standard_error == pytest.approx(np.sqrt(right.mean() * (1 - right.mean()) / 2000), rel=0.05)


@pytest.mark.parametrize(
    ("callers", "calls_each", "truth"), [(20, 1, 0.9), (50, 1, 0.9), (200, 1, 0.95), (50, 4, 0.85)]
)
def test_a_floor_at_the_truth_is_passed_no_more_often_than_promised(
    callers: int, calls_each: int, truth: float
) -> None:
    generator, trials = np.random.default_rng(7), 400
    clusters, passed, below = np.repeat(np.arange(callers), calls_each), 0, 0
    for trial in range(trials):
        easy = generator.beta(truth * 4, (1 - truth) * 4, callers) if calls_each > 1 else np.full(callers, truth)
        right = generator.random(callers * calls_each) < np.repeat(easy, calls_each)
        found = interval(accuracy, hits(right), clusters, resamples=300, seed=trial)
        passed, below = passed + (found.low > truth), below + (found.high < truth)
    assert passed / trials <= 0.04  # 2.5 % promised, the rest is chance of 400 trials
    assert below / trials <= 0.075


@given(st.integers(0, 1000))
def test_calibration_error_lies_inside_its_own_interval(seed: int) -> None:
    generator = np.random.default_rng(seed)
    table = np.zeros((60, 16))
    table[np.arange(60), generator.integers(0, 15, 60)] = generator.random(60) - 0.5
    table[:, 15] = 1
    found = interval(ece, table, alone(60), resamples=200)
    assert found.low <= found.estimate <= found.high


def test_a_paired_difference_is_far_narrower_than_two_intervals() -> None:
    generator = np.random.default_rng(1)
    a = generator.random(500) < 0.8
    b = a | (generator.random(500) < 0.1)
    difference = paired(hits(a), hits(b), alone(500), score=accuracy)
    apart = interval(accuracy, hits(a), alone(500))
    assert difference.low > 0
    assert difference.high - difference.low < 0.6 * (apart.high - apart.low)


@given(st.integers(0, 10_000))
def test_a_minus_b_is_the_mirror_of_b_minus_a(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = (hits(generator.integers(0, 2, 40)) for _ in range(2))
    one, other = (paired(*pair, alone(40), score=accuracy, resamples=300) for pair in ((a, b), (b, a)))
    assert (one.estimate, one.low, one.high) == pytest.approx((-other.estimate, -other.high, -other.low))


def test_plain_values_are_paired_by_their_mean() -> None:
    draw = np.random.default_rng(8)
    a, b = draw.normal(3, 1, 200), draw.normal(3.5, 1, 200)
    found = paired(a, b, alone(200))
    assert found.estimate == pytest.approx(b.mean() - a.mean())
    assert found.standard_error == pytest.approx((b - a).std() / np.sqrt(200), rel=0.1)
    right = draw.integers(0, 2, 50)
    assert paired(right, right, alone(50)) == paired(hits(right), hits(right), alone(50), score=accuracy)
    with pytest.raises(ValueError, match="200 rows of statistics and 3 of clusters"):
        paired(a, b, alone(3))


@pytest.mark.parametrize("callers", [12, 20, 40])
def test_few_callers_widen_an_interval_until_it_keeps_its_promise(callers: int) -> None:
    draw, trials, missed = np.random.default_rng(9), 400, 0
    clusters = np.repeat(np.arange(callers), 4)
    for trial in range(trials):
        apart = np.repeat(draw.normal(0, 1, callers), 4) + draw.normal(0, 1, callers * 4)
        found = paired(np.zeros(callers * 4), apart, clusters, resamples=400, seed=trial)
        missed += not found.low <= 0 <= found.high
    assert missed / trials <= 0.085  # 5 % promised, the rest is chance of 400 trials


def test_one_caller_with_most_of_the_rows_counts_for_few() -> None:
    assert effective_clusters(np.arange(20)) == 20
    assert effective_clusters(np.array([0] * 97 + [1, 2, 3])) == pytest.approx(100**2 / (97**2 + 3))


def test_two_models_that_agree_on_few_rows_are_not_shown_to_be_equal() -> None:
    few, many = (paired(hits([1] * n), hits([1] * n), alone(n), score=accuracy) for n in (20, 500))
    assert few.estimate == many.estimate == 0
    assert non_inferior(few.low, few.high, 0.03) == "insufficient evidence"
    assert non_inferior(many.low, many.high, 0.03) == "passed"


def test_a_candidate_worse_by_its_margin_seldom_passes() -> None:
    generator, trials, passed = np.random.default_rng(5), 300, 0
    for trial in range(trials):
        a = generator.random(300) < 0.9
        b = a & (generator.random(300) >= 0.03 / 0.9)
        difference = paired(hits(a), hits(b), alone(300), score=accuracy, resamples=300, seed=trial)
        passed += non_inferior(difference.low, difference.high, 0.03) == "passed"
    assert passed / trials <= 0.05


@pytest.mark.parametrize(
    ("low", "high", "higher_is_better", "outcome"),
    [
        (-0.02, 0.05, True, "passed"),
        (-0.04, 0.05, True, "insufficient evidence"),
        (-0.08, -0.04, True, "failed"),
        (-0.08, -0.03, True, "insufficient evidence"),
        (-0.05, 0.02, False, "passed"),
        (-0.05, 0.04, False, "insufficient evidence"),
        (0.04, 0.08, False, "failed"),
    ],
)
def test_non_inferiority_has_three_outcomes(low: float, high: float, higher_is_better: bool, outcome: str) -> None:
    assert non_inferior(low, high, 0.03, higher_is_better) == outcome


def test_the_detectable_effect_shrinks_with_the_error_and_grows_with_power() -> None:
    assert minimum_detectable_effect(0.01) == pytest.approx(0.028, abs=1e-3)
    assert minimum_detectable_effect(0.005) < minimum_detectable_effect(0.01) < minimum_detectable_effect(0.01, 0.9)


def test_lengths_that_differ_and_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="4 rows of statistics and 5 of clusters"):
        interval(accuracy, hits([1] * 4), alone(5))
    with pytest.raises(ValueError, match="no rows"):
        resample([(accuracy, hits([]))], alone(0))
