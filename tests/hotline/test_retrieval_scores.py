"""Scores of finding and citing agree with scikit-learn, and an empty list is neither right nor undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, precision_score, recall_score, top_k_accuracy_score
from sklearn.preprocessing import MultiLabelBinarizer

from hotline.retrieval_scores import citation_f1, citation_precision, citation_recall, mrr, recall_at
from hotline.scores import Score
from hotline.task import Answer, Target

ARTICLES = ("a1", "a2", "a3", "a4")
few = settings(max_examples=60, deadline=None)


class Found(Target):
    documents: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()


def found(score: Score, *rows: tuple[tuple[str, ...], tuple[str, ...]]) -> float:
    answers = [Answer(target=Found(documents=said), confidence=1.0) for _, said in rows]
    return score([Found(documents=relevant) for relevant, _ in rows], answers)


def cited(score: Score, *rows: tuple[tuple[str, ...], tuple[str, ...]]) -> float:
    answers = [Answer(target=Found(citations=said), confidence=1.0) for _, said in rows]
    return score([Found(citations=relevant) for relevant, _ in rows], answers)


@few
@given(st.lists(st.tuples(st.sampled_from(ARTICLES), st.permutations(ARTICLES)), min_size=1, max_size=15))
def test_with_one_relevant_document_both_are_those_of_scikit_learn(rows: list[tuple[str, list[str]]]) -> None:
    pairs = [((relevant,), tuple(ranked)) for relevant, ranked in rows]
    ranks = np.array([[len(ARTICLES) - ranked.index(name) for name in ARTICLES] for _, ranked in rows])
    truth = np.array([[name == relevant for name in ARTICLES] for relevant, _ in rows])
    assert found(mrr(), *pairs) == pytest.approx(label_ranking_average_precision_score(truth, ranks))
    numbers = [ARTICLES.index(relevant) for relevant, _ in rows]
    expected = top_k_accuracy_score(numbers, ranks, k=2, labels=range(len(ARTICLES)))
    assert found(recall_at(2), *pairs) == pytest.approx(expected)


def test_recall_is_the_share_of_what_is_relevant_and_a_repetition_takes_no_place() -> None:
    assert found(recall_at(2), (("a1", "a2", "a3"), ("a1", "a1", "a2", "a3"))) == pytest.approx(2 / 3)
    assert found(mrr(), (("a2",), ("a1", "a1", "a2"))) == 0.5
    assert found(mrr(k=1), (("a2",), ("a1", "a2"))) == 0


def test_rows_with_nothing_to_find_do_not_count() -> None:
    assert found(recall_at(1), (("a1",), ("a1",)), ((), ("a1",))) == 1
    assert math.isnan(found(mrr(), ((), ("a1",))))


sets = st.sets(st.sampled_from(ARTICLES)).map(tuple)


@few
@given(st.lists(st.tuples(sets, sets), min_size=1, max_size=10))
def test_citations_are_scored_as_scikit_learn_does(rows: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    matrix = MultiLabelBinarizer(classes=ARTICLES)
    truth, said = matrix.fit_transform([a for a, _ in rows]), matrix.fit_transform([b for _, b in rows])
    for score, expected in ((citation_precision(), precision_score), (citation_recall(), recall_score)):
        if truth.sum() and said.sum():
            assert cited(score, *rows) == pytest.approx(expected(truth, said, average="micro"))


def test_citing_nothing_is_right_only_where_nothing_is_to_be_cited() -> None:
    for score in (citation_precision(), citation_recall(), citation_f1()):
        assert cited(score, ((), ())) == 1
        assert cited(score, (("a1",), ())) == cited(score, ((), ("a1",))) == 0
