"""Errors of transcripts add up, agree with the edit distance, and are counted where they belong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from hotline.spoken_scores import wer_deletions, wer_insertions, wer_substitutions, words
from hotline.task import Answer
from hotline.tasks.speech.transcription import TRANSCRIPTION, Entity, Transcript
from hotline.text import scored

SCORES = TRANSCRIPTION.scores
texts = st.text(st.sampled_from("我要投诉係關，。 abC'"), max_size=12)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=8)
few = settings(max_examples=60, deadline=None)


def split(rows: list[tuple[str, str]]) -> tuple[list[Transcript], list[Answer]]:
    targets = [Transcript(text=reference) for reference, _ in rows]
    return targets, [Answer(target=Transcript(text=said), confidence=0.5) for _, said in rows]


def figure(name: str, *rows: tuple[str, str]) -> float:
    return SCORES[name](*split(list(rows)))


def entity_errors(reference: str, said: str, *spans: tuple[int, int]) -> float:
    entities = tuple(Entity(start=start, end=end, kind="place") for start, end in spans)
    answer = Answer(target=Transcript(text=said), confidence=0.5)
    return SCORES["entity_cer"]([Transcript(text=reference, entities=entities)], [answer])


@few
@given(pairs)
def test_the_kinds_of_error_add_up_to_the_edit_distance(rows: list[tuple[str, str]]) -> None:
    targets, answers = split(rows)
    table = SCORES["cer"].statistics(targets, answers)
    assert table[:, :3].sum() == sum(Levenshtein.distance(scored(a), scored(b)) for a, b in rows)
    characters = sum(len(scored(a)) for a, _ in rows)
    if characters:
        parts = sum(SCORES[kind](targets, answers) for kind in ("substitutions", "deletions", "insertions"))
        assert SCORES["cer"](targets, answers) == pytest.approx(parts) == table[:, :3].sum() / characters


@few
@given(pairs)
def test_what_was_said_exactly_has_no_errors(rows: list[tuple[str, str]]) -> None:
    same = [(reference, reference) for reference, _ in rows]
    for name in set(SCORES) - {"entity_cer"}:
        assert figure(name, *same) in (0, pytest.approx(math.nan, nan_ok=True))


@few
@given(pairs)
def test_the_corpus_figure_is_the_mean_weighted_by_length_and_the_other_the_plain_mean(
    rows: list[tuple[str, str]],
) -> None:
    rows = [row for row in rows if scored(row[0])] or [("我", "我")]
    each = [figure("cer", row) for row in rows]
    lengths = [len(scored(reference)) for reference, _ in rows]
    assert figure("cer", *rows) == pytest.approx(np.average(each, weights=lengths))
    assert figure("utterance_cer", *rows) == pytest.approx(np.mean(each))


@few
@given(pairs)
def test_substitutions_and_deletions_are_shares_and_the_rest_may_pass_1(rows: list[tuple[str, str]]) -> None:
    for name, score in SCORES.items():
        found = figure(name, *rows)
        assert score.error_rate and not score.higher_is_better
        assert score.bounded == (name in ("substitutions", "deletions"))
        assert math.isnan(found) or found >= 0
        assert not score.bounded or math.isnan(found) or found <= 1


def test_a_model_that_babbles_scores_above_1() -> None:
    assert figure("cer", ("路燈", "路灯坏了没有人来")) == 3


def test_an_empty_reference_counts_what_was_said_as_insertions() -> None:
    assert figure("cer", ("。", "嗯嗯"), ("路灯坏了", "路灯坏了")) == 0.5
    assert figure("insertions", ("", "嗯嗯"), ("路灯坏了", "路灯坏了")) == 0.5


def test_script_case_width_marks_and_the_writing_of_numbers_are_no_errors() -> None:
    assert figure("cer", ("關係到2026年，OK？", "关系到二零二六年ok")) == 0


def test_one_word_wrong_in_ten_is_one_tenth_of_the_words_whatever_its_length() -> None:
    assert words("我要hello world，Don't") == ["我", "要", "hello", "world", "dont"]
    assert figure("mer", ("please repair the street lamp", "please repair the street lump")) == pytest.approx(0.2)


def test_words_are_counted_where_blanks_part_them_and_not_in_chinese() -> None:
    english = ("please repair the street lamp", "please repair street lamps now")
    assert figure("wer", english) == pytest.approx(3 / 5)
    assert figure("wer", english, ("路灯坏了", "全错")) == pytest.approx(3 / 5)
    assert math.isnan(figure("wer", ("路灯 坏了", "路灯 坏")))
    targets, answers = split([english])
    parts = (wer_substitutions, wer_deletions, wer_insertions)
    assert sum(part(targets, answers) for part in parts) == pytest.approx(3 / 5)


def test_rows_without_entities_contribute_nothing_and_without_any_there_is_no_figure() -> None:
    assert math.isnan(entity_errors("天河区路灯坏了", "天河区路灯坏了"))
    marked = Transcript(text="天河区路灯", entities=(Entity(start=0, end=3, kind="place"),))
    plain = Transcript(text="番禺区路灯")
    answers = [Answer(target=Transcript(text=text), confidence=0.5) for text in ("天和区路灯", "全错了")]
    assert SCORES["entity_cer"]([marked, plain], answers) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("天河区路灯坏了", 0),
        ("天河区路灯怪", 0),
        ("天和区路灯坏了", 1 / 3),
        ("路灯坏了", 1),
        ("天大河区路灯坏了", 1 / 3),
        ("啊天河区路灯坏了", 0),
        ("", 1),
    ],
)
def test_only_errors_inside_the_spans_count(said: str, expected: float) -> None:
    assert entity_errors("天河区路灯坏了", said, (0, 3)) == pytest.approx(expected)


def test_an_entity_is_found_again_behind_marks_and_numbers_that_are_read_out() -> None:
    reference = "喂，2026年，天河區。"
    start = reference.index("天")
    assert entity_errors(reference, "喂二零二六年天和区", (start, start + 3)) == pytest.approx(1 / 3)
    assert entity_errors(reference, "喂二零二五年天河区", (2, 6)) == pytest.approx(1 / 4)


def test_spans_that_overlap_or_reach_past_the_text_are_counted_once() -> None:
    assert entity_errors("天河区", "天河", (0, 3), (1, 99)) == pytest.approx(1 / 3)


def test_answers_that_are_missing_are_refused() -> None:
    targets, answers = split([("一", "一"), ("二", "二")])
    with pytest.raises(ValueError, match="2 targets and 1 answers"):
        SCORES["cer"].statistics(targets, answers[:1])
