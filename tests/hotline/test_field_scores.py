"""Scores of records: leaf by leaf, whole, and whether a writer's text is a record at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from hotline.field_scores import field_accuracy, field_f1, json_text, record_accuracy, schema_validity
from hotline.scores import Score
from hotline.task import Answer, Target


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")

    place: str | None = None
    offices: tuple[str, ...] = ()
    urgent: bool = False
    persons: int | None = None


class Filled(Target):
    place: str | None = None
    offices: tuple[str, ...] = ()
    urgent: bool = False


class Text(Target):
    text: str


def of(score: Score, target: Target, said: Target) -> float:
    return score([target], [Answer(target=said, confidence=1.0)])


def text(**fields: Any) -> Text:
    return Text(text=json.dumps(fields, ensure_ascii=False))


READ = json_text(Form)


def test_each_field_counts_once_and_the_record_only_as_a_whole() -> None:
    truth, said = Filled(place="天河区", offices=("城管", "公安")), Filled(place="番禺区", offices=("公安", "城管"))
    assert of(field_accuracy(), truth, said) == pytest.approx(2 / 3)
    assert of(field_f1(), truth, said) == pytest.approx(2 * 3 / (4 + 4))
    assert of(record_accuracy(), truth, said) == 0
    assert of(record_accuracy(), truth, truth) == 1


def test_script_width_and_blanks_do_not_count_and_marks_do() -> None:
    assert of(record_accuracy(), Filled(place="天河區 3號"), Filled(place="天河区３号")) == 1
    assert of(record_accuracy(), Filled(place="3-1号"), Filled(place="31号")) == 0


def test_text_that_is_no_valid_json_fills_nothing() -> None:
    truth = text(place="天河区", persons=3)
    for said in (Text(text="天河区"), Text(text="```{}```"), text(place=["天河区"]), text(place="天河区", more=1)):
        assert of(schema_validity(Form), truth, said) == 0
        assert of(record_accuracy(READ), truth, said) == 0
        assert of(field_f1(READ), truth, said) == 0
    assert of(schema_validity(Form), truth, text(place="番禺区")) == 1


def test_an_invalid_answer_is_wrong_even_when_there_is_nothing_to_fill() -> None:
    assert of(record_accuracy(json_text(Form)), text(), Text(text="无")) == 0
    assert of(record_accuracy(json_text(Form)), text(), text()) == 1


def test_a_truth_value_is_no_number_and_a_whole_number_no_fraction() -> None:
    class Open(BaseModel):
        value: bool | int | float

    read = json_text(Open)
    assert of(record_accuracy(read), text(value=True), text(value=1)) == 0
    assert of(record_accuracy(read), text(value=3), text(value=3.0)) == 1


names = st.sets(st.sampled_from(["城管", "公安", "民政", "环保"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names, names), min_size=1, max_size=10))
def test_field_f1_over_a_set_is_micro_f1_of_scikit_learn(rows: list[tuple[set[str], set[str]]]) -> None:
    class Offices(Target):
        offices: tuple[str, ...]

    targets = [Offices(offices=tuple(truth)) for truth, _ in rows]
    answers = [Answer(target=Offices(offices=tuple(said)), confidence=1.0) for _, said in rows]
    matrix = MultiLabelBinarizer(classes=["城管", "公安", "民政", "环保"])
    truth, said = matrix.fit_transform([a for a, _ in rows]), matrix.fit_transform([b for _, b in rows])
    expected = f1_score(truth, said, average="micro", zero_division=1.0)
    assert field_f1()(targets, answers) == pytest.approx(expected)
