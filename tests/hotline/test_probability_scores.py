"""Scores of probabilities agree with scikit-learn, exactly or within the error that they state."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import brier_score_loss, roc_auc_score

from hotline.probability_scores import AUC_BINS, auc, auc_error, bin_of, brier, macro_auc, reliability
from hotline.scores import ece
from hotline.task import Answer, Target

few = settings(max_examples=60, deadline=None)


class Label(Target):
    label: str


def answer(shares: dict[str, float]) -> Answer:
    ranked = sorted(shares, key=lambda name: -shares[name])
    others = tuple((Label(label=name), shares[name]) for name in ranked[1:])
    return Answer(target=Label(label=ranked[0]), confidence=shares[ranked[0]], alternatives=others)


def binary(truth: np.ndarray, chance: np.ndarray) -> tuple[list[Label], list[Answer]]:
    answers = [answer({"yes": float(p), "no": 1 - float(p)}) for p in chance]
    return [Label(label="yes" if true else "no") for true in truth], answers


@pytest.mark.parametrize(("sharpness", "at_most"), [(1.0, 0.005), (4.0, 0.005), (12.0, 0.02)])
def test_auc_is_that_of_scikit_learn_within_its_own_error(sharpness: float, at_most: float) -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(3000) < 0.2
    chance = 1 / (1 + np.exp(-sharpness * (generator.normal(size=3000) + truth - 1)))
    targets, answers = binary(truth, chance)
    score = auc("yes")
    sums = np.asarray(sparse.csr_array(score.statistics(targets, answers)).sum(axis=0)).reshape(1, -1)
    error = float(auc_error(sums)[0])
    assert abs(score(targets, answers) - roc_auc_score(truth, chance)) <= error + 1e-12
    assert error < at_most


def test_a_ranking_without_overlap_is_1_and_the_reverse_0_and_one_class_alone_is_no_ranking() -> None:
    targets, answers = binary(np.array([True, True, False]), np.array([0.9, 0.6, 0.2]))
    assert auc("yes")(targets, answers) == 1 == auc("no")(targets, answers)
    assert auc("yes")(targets[::-1], answers) == 0
    assert math.isnan(auc("yes")(targets[:2], answers[:2]))


def test_answers_of_the_same_probability_count_half() -> None:
    targets, answers = binary(np.array([True, False]), np.array([0.7, 0.7]))
    assert auc("yes")(targets, answers) == 0.5


def test_bins_are_in_order_from_never_to_always() -> None:
    places = bin_of(np.array([0.0, 1e-9, 0.01, 0.5, 0.51, 0.999, 1.0]))
    assert list(places) == sorted(places) and places[0] == 0 and places[-1] == AUC_BINS - 1
    assert places[4] > places[3]


def test_macro_auc_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    names = ("a", "b", "c")
    truth = generator.integers(0, 3, size=1500)
    logits = generator.normal(size=(1500, 3)) + 1.5 * np.eye(3)[truth]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = [answer(dict(zip(names, map(float, row), strict=True))) for row in shares]
    found = macro_auc(names)([Label(label=names[true]) for true in truth], answers)
    assert found == pytest.approx(roc_auc_score(truth, shares, multi_class="ovr", average="macro"), abs=0.002)


rows = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab"), st.floats(0, 1)), min_size=1, max_size=40)


@few
@given(rows)
def test_brier_is_that_of_scikit_learn(rows: list[tuple[str, str, float]]) -> None:
    targets = [Label(label=truth) for truth, _, _ in rows]
    answers = [Answer(target=Label(label=said), confidence=sure) for _, said, sure in rows]
    right = [truth == said for truth, said, _ in rows]
    expected = brier_score_loss(right, [sure for _, _, sure in rows], pos_label=True)
    assert brier(targets, answers) == pytest.approx(expected)


@few
@given(rows)
def test_the_bins_of_the_reliability_plot_make_the_calibration_error(rows: list[tuple[str, str, float]]) -> None:
    targets = [Label(label=truth) for truth, _, _ in rows]
    answers = [Answer(target=Label(label=said), confidence=sure) for _, said, sure in rows]
    bins = reliability(targets, answers)
    assert sum(each.rows for each in bins) == len(rows)
    assert all(each.low <= each.confidence <= each.high for each in bins)
    error = sum(each.rows * abs(each.accuracy - each.confidence) for each in bins) / len(rows)
    assert error == pytest.approx(ece(targets, answers))
