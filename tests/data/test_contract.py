"""The contract says what the task declares: every rule or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from pydantic import AfterValidator, Field, field_validator

from data import columns, contract
from hotline.errors import ContractError
from hotline.labels import LabelTree
from hotline.task import Input, Task

TREE = LabelTree.of(["甲", "乙"])


class Rich(Input):
    text: Annotated[str, Field(min_length=2, max_length=9, pattern="^[a-z]+$")]
    kind: Literal["call", "letter"] = "call"
    age: Annotated[int, Field(ge=0, lt=150)] | None = None
    score: Annotated[float, Field(gt=0, le=1)] = 0.5
    tags: tuple[Annotated[str, Field(max_length=3)], ...] = ()


def table(task: Task, rows: list[dict[str, Any]]) -> Any:
    base: dict[str, Any] = {"cluster": "c", "split": "train", "target.label": "甲"}
    for column in columns.of_task(task):
        base.setdefault(column.name, "x")
    base |= {"provenance.confidence": 1.0, "provenance.personal": "[]", "provenance.dialect": "unknown"}
    made = [{**base, "id": str(number), **row} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(made, schema=columns.schema(task))


def rich(**changes: Any) -> dict[str, Any]:
    good = {"text": "abc", "kind": "call", "age": 3, "score": 0.5, "tags": '["a"]'}
    return {f"input.{name}": value for name, value in {**good, **changes}.items()}


@pytest.fixture
def wide(task: Task) -> Task:
    return replace(task, name="wide", input=Rich)


def test_rows_as_declared_pass_and_leave_a_report(wide: Task, tmp_path: Path) -> None:
    report = contract.validate(wide, TREE, table(wide, [rich(), rich(age=None)]), tmp_path)
    assert report.checked > 30
    assert not report.failed
    assert json.loads(report.json.read_text())["success"] is True
    assert "<html" in report.html.read_text()


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"text": "a"}, "input.text"),
        ({"text": "abcdefghij"}, "input.text"),
        ({"text": "ABC"}, "input.text"),
        ({"text": None}, "input.text"),
        ({"kind": "fax"}, "input.kind"),
        ({"age": -1}, "input.age"),
        ({"age": 150}, "input.age"),
        ({"score": 0.0}, "input.score"),
        ({"score": 1.5}, "input.score"),
        ({"tags": '["long"]'}, "input.tags as declared"),
        ({"tags": "[1"}, "input.tags as declared"),
    ],
)
def test_every_kind_of_rule_is_held(wide: Task, tmp_path: Path, change: dict[str, Any], column: str) -> None:
    with pytest.raises(ContractError) as refused:
        contract.validate(wide, TREE, table(wide, [rich(), rich(**change)]), tmp_path)
    assert (refused.value.found or "").startswith(column)
    assert Path(refused.value.where or "").is_file()


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0"},
        {"target.label": "丙"},
        {"split": "tests"},
        {"cluster": None},
        {"provenance.dialect": "klingon"},
        {"provenance.site": ""},
        {"provenance.confidence": 1.2},
        {"provenance.personal": '[{"field": "text"}]'},
    ],
)
def test_rules_of_the_corpus_are_held(task: Task, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        contract.validate(task, TREE, table(task, [{}, {**change}]), tmp_path)


class Stepped(Input):
    text: str
    even: Annotated[int, Field(multiple_of=2)]


class Checked(Input):
    text: Annotated[str, AfterValidator(str.upper)]


class Judged(Input):
    text: str

    @field_validator("text")
    @classmethod
    def _polite(cls, text: str) -> str:
        return text


class Torn(Input):
    text: str | int


@pytest.mark.parametrize("kind", [Stepped, Checked, Judged, Torn])
def test_a_rule_that_cannot_be_compiled_raises(task: Task, kind: type[Input]) -> None:
    with pytest.raises(ContractError):
        contract.compile_suite(replace(task, input=kind), TREE)
