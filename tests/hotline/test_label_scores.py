"""Scores of labels agree with scikit-learn, and a wrong leaf under the right branch is partly right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score, top_k_accuracy_score
from sklearn.preprocessing import MultiLabelBinarizer

from hotline.label_scores import (
    f1_of,
    hierarchical_f1,
    level_accuracy,
    micro_f1,
    over_flagging,
    reciprocal_rank,
    top_k_accuracy,
    violation_recall,
)
from hotline.task import Answer, Target

NAMES = ("a", "b", "c", "d", "e")
few = settings(max_examples=60, deadline=None)


class Label(Target):
    label: str


class Labels(Target):
    labels: tuple[str, ...]


def of(score: object, *pairs: tuple[str, str]) -> float:
    answers = [Answer(target=Label(label=said), confidence=1.0) for _, said in pairs]
    return score([Label(label=truth) for truth, _ in pairs], answers)  # type: ignore[no-any-return, operator]


@few
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.permutations(NAMES)), min_size=1, max_size=20), st.integers(1, 4))
def test_top_k_is_that_of_scikit_learn(rows: list[tuple[str, list[str]]], k: int) -> None:
    shares = [5 / 15, 4 / 15, 3 / 15, 2 / 15, 1 / 15]
    answers = [
        Answer(
            target=Label(label=ranked[0]),
            confidence=shares[0],
            alternatives=tuple((Label(label=name), share) for name, share in zip(ranked[1:], shares[1:], strict=True)),
        )
        for _, ranked in rows
    ]
    table = np.array([[shares[ranked.index(name)] for name in NAMES] for _, ranked in rows])
    expected = top_k_accuracy_score([NAMES.index(truth) for truth, _ in rows], table, k=k, labels=range(len(NAMES)))
    assert top_k_accuracy(k)([Label(label=truth) for truth, _ in rows], answers) == pytest.approx(expected)


@few
@given(st.lists(st.tuples(*[st.sets(st.sampled_from(NAMES))] * 2), min_size=1, max_size=12))
def test_micro_f1_of_several_labels_is_that_of_scikit_learn(rows: list[tuple[set[str], set[str]]]) -> None:
    targets = [Labels(labels=tuple(truth)) for truth, _ in rows]
    answers = [Answer(target=Labels(labels=tuple(said)), confidence=1.0) for _, said in rows]
    matrix = MultiLabelBinarizer(classes=NAMES)
    truth, said = matrix.fit_transform([a for a, _ in rows]), matrix.fit_transform([b for _, b in rows])
    assert micro_f1(targets, answers) == pytest.approx(f1_score(truth, said, average="micro", zero_division=1.0))


def test_micro_f1_of_one_label_is_the_accuracy() -> None:
    assert of(micro_f1, ("a", "a"), ("b", "a"), ("c", "c"), ("c", "b")) == 0.5


def test_every_level_of_the_tree_counts_the_rows_that_go_so_deep() -> None:
    rows = (("城建/路燈/不亮", "城建/路燈/破損"), ("城建/路燈", "城建/道路"), ("環保", "環保/噪音"))
    assert of(level_accuracy(1), *rows) == 1
    assert of(level_accuracy(2), *rows) == 0.5
    assert of(level_accuracy(3), *rows) == 0
    assert math.isnan(of(level_accuracy(4), *rows))


def test_a_level_is_right_only_below_the_right_branch() -> None:
    assert of(level_accuracy(2), ("城建/其他", "環保/其他")) == 0


def test_hierarchical_f1_counts_levels_in_common() -> None:
    assert of(hierarchical_f1, ("a/b/c", "a/b/d"), ("a", "b")) == pytest.approx(2 * 2 / (3 + 3 + 1 + 1))
    assert of(hierarchical_f1, ("a/b", "a/b/c")) == pytest.approx(2 * 2 / 5)
    assert of(hierarchical_f1, ("a/b/c", "a/b/c")) == 1


@few
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=1, max_size=30))
def test_the_f1_of_one_label_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    true, said = ([label == "a" for label in side] for side in zip(*pairs, strict=True))
    assert of(f1_of("a", "f1"), *pairs) == pytest.approx(f1_score(true, said, zero_division=1.0))


def test_the_reciprocal_rank_looks_through_the_alternatives_and_leaves_out_rows_with_nothing_to_find() -> None:
    others = tuple((Label(label=name), 0.1) for name in ("b", "c"))
    answer = Answer(target=Label(label="a"), confidence=0.5, alternatives=others)
    targets = [Label(label=name) for name in ("a", "b", "c", "d", "none")]
    assert reciprocal_rank("none")(targets, [answer] * 5) == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)
    assert math.isnan(reciprocal_rank("none")(targets[4:], [answer]))


@few
@given(
    st.lists(
        st.tuples(st.sampled_from(("正常", "正常/咨询", "辱骂/脏话", "广告")), *[st.sampled_from(("正常", "广告"))]),
        max_size=20,
    )
)
def test_flagging_is_a_decision_of_two_sides_whichever_the_label(rows: list[tuple[str, str]]) -> None:
    truth, said = (
        [not label.startswith("正常") for label in column] for column in ([a for a, _ in rows], [b for _, b in rows])
    )
    for score, positive, expected in ((violation_recall, True, 1), (over_flagging, False, 0)):
        if positive in truth:
            recall = recall_score(truth, said, pos_label=positive)
            assert of(score(("正常",)), *rows) == pytest.approx(recall if expected else 1 - recall)
        elif rows:
            assert math.isnan(of(score(("正常",)), *rows))


def test_a_label_that_only_begins_like_a_harmless_one_is_flagged() -> None:
    assert of(violation_recall(("正常",)), ("辱骂", "正常化")) == 1
    assert of(over_flagging(("正常",)), ("正常/咨询", "正常化")) == 1
