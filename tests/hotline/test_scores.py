"""Scores agree with the field's libraries, add up over slices, and say so when they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import accuracy_score, f1_score

from hotline.scores import Score
from hotline.task import Answer
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY, Category

SCORES = TICKET_CATEGORY.scores
labels = st.sampled_from(["城建/路燈", "城建/道路", "環保/噪音", "環保/污水", "民政"])
pairs = st.lists(st.tuples(labels, labels, st.floats(0, 1)), min_size=1, max_size=60)


def split(rows: list[tuple[str, str, float]]) -> tuple[list[Category], list[Answer]]:
    targets = [Category(label=truth) for truth, _, _ in rows]
    return targets, [Answer(target=Category(label=said), confidence=sure) for _, said, sure in rows]


@given(pairs)
def test_accuracy_and_macro_f1_are_those_of_scikit_learn(rows: list[tuple[str, str, float]]) -> None:
    targets, answers = split(rows)
    truth, said = [t.label for t in targets], [a.target.label for a in answers]
    assert SCORES["accuracy"](targets, answers) == pytest.approx(accuracy_score(truth, said))
    assert SCORES["macro_f1"](targets, answers) == pytest.approx(f1_score(truth, said, average="macro"))


@given(pairs)
def test_every_score_is_the_same_in_any_order_and_lies_between_0_and_1(rows: list[tuple[str, str, float]]) -> None:
    for score in SCORES.values():
        forwards, backwards = score(*split(rows)), score(*split(rows[::-1]))
        assert forwards == pytest.approx(backwards, nan_ok=True)
        assert score.bounded and (math.isnan(forwards) or -1e-12 <= forwards <= 1 + 1e-12)


@given(pairs)
def test_sums_over_two_halves_make_the_figure_over_the_whole(rows: list[tuple[str, str, float]]) -> None:
    targets, answers = split(rows)
    for score in SCORES.values():
        table = sparse.csr_array(score.statistics(targets, answers))
        half = len(rows) // 2
        sums = np.asarray(table[:half].sum(axis=0) + table[half:].sum(axis=0)).reshape(1, -1)
        assert float(score.finish(sums)[0]) == pytest.approx(score(targets, answers), nan_ok=True)


def test_the_first_level_counts_when_only_the_leaf_is_wrong() -> None:
    targets, answers = split([("城建/路燈", "城建/道路", 0.9), ("城建/路燈", "環保/噪音", 0.9)])
    assert SCORES["accuracy"](targets, answers) == 0
    assert SCORES["level1_accuracy"](targets, answers) == 0.5


def test_the_third_best_answer_counts_for_top3_and_the_fourth_does_not() -> None:
    others = tuple((Category(label=name), 0.1) for name in ("b", "c", "d"))
    answer = Answer(target=Category(label="a"), confidence=0.7, alternatives=others)
    top3 = SCORES["top3_accuracy"]
    assert top3([Category(label="c")], [answer]) == 1
    assert top3([Category(label="d")], [answer]) == 0


def test_a_model_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    rows = [("a", "a", 0.75)] * 3 + [("a", "b", 0.75)]
    assert SCORES["ece"](*split(rows)) == pytest.approx(0)
    assert SCORES["ece"](*split([("a", "b", 1.0)])) == pytest.approx(1)


def test_no_rows_or_different_numbers_of_rows_are_no_score() -> None:
    targets, answers = split([("a", "a", 1.0)])
    with pytest.raises(ValueError, match="0 targets"):
        SCORES["accuracy"]([], [])
    with pytest.raises(ValueError, match="1 targets and 2 answers"):
        SCORES["accuracy"](targets, answers * 2)


def test_an_undefined_figure_is_nan_not_zero() -> None:
    score: Score = SCORES["accuracy"]
    assert math.isnan(score.finish(np.zeros((1, 2)))[0])
    assert math.isnan(SCORES["macro_f1"].finish(np.zeros((1, 6)))[0])
