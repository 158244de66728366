"""Entities are scored kind by kind, and all kinds together, on the same alignment."""

from __future__ import annotations

import math

import pytest

from hotline.entity_scores import BY_KIND, KINDS, entity_cer, entity_cer_of
from hotline.scores import Score
from hotline.task import Answer
from hotline.tasks.speech.transcription import TRANSCRIPTION, Entity, Transcript

REFERENCE = "城管局说天河区3号路灯今天修"
ENTITIES = (
    Entity(start=0, end=3, kind="department"),
    Entity(start=4, end=7, kind="place"),
    Entity(start=7, end=8, kind="number"),
)


def of(score: Score, *said: str) -> float:
    answers = [Answer(target=Transcript(text=text), confidence=0.5) for text in said]
    return score([Transcript(text=REFERENCE, entities=ENTITIES)] * len(said), answers)


def test_an_error_counts_for_the_kind_that_it_is_in_and_for_all_together() -> None:
    said = "城管局说天和区三号路灯今天修"
    assert of(BY_KIND["entity_cer_place"], said) == pytest.approx(1 / 3)
    assert of(BY_KIND["entity_cer_department"], said) == of(BY_KIND["entity_cer_number"], said) == 0
    assert of(entity_cer, said) == pytest.approx(1 / 7)


def test_kinds_add_up_where_spans_do_not_overlap() -> None:
    said = ["城管说天河区四号路灯", "城建局说天河号路灯坏了", ""]
    kinds = ("department", "place", "number")
    parts = sum(entity_cer_of(kind)(*_rows(said)) * length * 3 for kind, length in zip(kinds, (3, 3, 1), strict=True))
    assert of(entity_cer, *said) * 7 * 3 == pytest.approx(parts)


def _rows(said: list[str]) -> tuple[list[Transcript], list[Answer]]:
    answers = [Answer(target=Transcript(text=text), confidence=0.5) for text in said]
    return [Transcript(text=REFERENCE, entities=ENTITIES)] * len(said), answers


def test_a_kind_that_no_row_names_has_no_figure() -> None:
    assert math.isnan(of(BY_KIND["entity_cer_name"], REFERENCE))


def test_transcription_reports_every_kind() -> None:
    assert {f"entity_cer_{kind}" for kind in KINDS} == set(BY_KIND) <= set(TRANSCRIPTION.scores)
