"""Scores of written texts: known values, what does not count, and sums that add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from hotline.scores import Score
from hotline.task import Answer, Target
from hotline.written_scores import (
    chrf,
    exact_match,
    must_refuse_recall,
    over_refusal,
    refusal_f1,
    rouge_l,
    token_f1,
)

SCORES = (rouge_l, token_f1, exact_match, chrf, refusal_f1)
texts = st.lists(st.text(alphabet="东街路灯坏了abc 1。", max_size=12), min_size=1, max_size=8)


class Text(Target):
    text: str


def of(score: Score, *pairs: tuple[str, str]) -> float:
    """The score of (reference, said) pairs."""
    answers = [Answer(target=Text(text=said), confidence=1.0) for _, said in pairs]
    return score([Text(text=reference) for reference, _ in pairs], answers)


@pytest.mark.parametrize(
    ("score", "reference", "said", "expected"),
    [
        (rouge_l, "东街路灯坏了", "东街的路灯不亮", 2 * 4 / 13),
        (rouge_l, "路灯", "井盖", 0.0),
        (token_f1, "打gov热线", "热线gov", 2 * 3 / 7),
        (token_f1, "the street lamp", "a street lamp", 2 * 2 / 6),
        (exact_match, "路灯壞了！", "路灯坏了", 1.0),
        (exact_match, "路灯", "路灯坏", 0.0),
        (chrf, "abcd", "abce", (0.75 + 2 / 3 + 0.5 + 0) / 4),
    ],
)
def test_known_values(score: Score, reference: str, said: str, expected: float) -> None:
    assert of(score, (reference, said)) == pytest.approx(expected)


def test_longer_n_grams_that_one_side_lacks_do_not_count_against_it() -> None:
    assert of(chrf, ("路灯", "路灯")) == 1.0


def test_script_width_case_marks_and_blanks_do_not_count() -> None:
    for score in (rouge_l, token_f1, exact_match, chrf):
        assert of(score, ("A3區 的路燈，壞了。", "ａ3区的路灯坏了")) == 1.0


def test_refusing_is_scored_as_finding_what_the_document_does_not_say() -> None:
    right, missed, needless, answered = ("", ""), ("", "三天"), ("三天", ""), ("三天", "五天")
    assert of(refusal_f1, right, missed, needless, answered) == pytest.approx(2 * 1 / (2 + 2))
    assert of(refusal_f1, answered) == 1.0  # nothing to refuse, nothing refused
    assert of(refusal_f1, missed) == 0.0


def test_what_must_be_refused_and_what_must_not_are_scored_apart() -> None:
    right, missed, needless, answered = ("", ""), ("", "三天"), ("三天", ""), ("三天", "五天")
    assert of(must_refuse_recall, right, right, missed, needless) == pytest.approx(2 / 3)
    assert of(over_refusal, right, missed, needless, answered, answered) == pytest.approx(1 / 3)
    assert not over_refusal.higher_is_better
    assert np.isnan(of(must_refuse_recall, answered)) and np.isnan(of(over_refusal, right))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_scores_of_refusing_are_those_of_scikit_learn(rows: list[tuple[bool, bool]]) -> None:
    pairs = [("" if must else "三天", "" if did else "三天") for must, did in rows]
    must, did = [must for must, _ in rows], [did for _, did in rows]
    assert of(refusal_f1, *pairs) == pytest.approx(f1_score(must, did, zero_division=1.0))
    if any(must):
        assert of(must_refuse_recall, *pairs) == pytest.approx(recall_score(must, did))
    if not all(must):
        kept = recall_score([not each for each in must], [not each for each in did])
        assert of(over_refusal, *pairs) == pytest.approx(1 - kept)


def test_an_empty_text_is_as_good_as_an_empty_reference_and_no_better() -> None:
    for score in (rouge_l, token_f1, exact_match):
        assert of(score, ("", "")) == 1.0
        assert of(score, ("", "路灯")) == of(score, ("路灯", "")) == 0.0


@settings(deadline=None)
@given(texts, texts)
def test_every_score_is_a_share_and_perfect_for_the_reference_itself(references: list[str], said: list[str]) -> None:
    pairs = list(zip(references, said, strict=False))
    for score in SCORES:
        assert 0 <= of(score, *pairs) <= 1 or np.isnan(of(score, *pairs))
        itself = of(score, *((text, text) for text in references))
        assert itself == pytest.approx(1) or np.isnan(itself)


@settings(deadline=None)
@given(texts)
def test_figures_of_parts_add_up(said: Sequence[str]) -> None:
    references = [Text(text=text[::-1]) for text in said]
    answers = [Answer(target=Text(text=text), confidence=1.0) for text in said]
    for score in SCORES:
        rows = np.asarray(score.statistics(references, answers))
        parts = [np.asarray(score.statistics([r], [a])) for r, a in zip(references, answers, strict=True)]
        assert np.array_equal(rows, np.concatenate(parts))
