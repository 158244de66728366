"""A mapping says what every column is, or says everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data import mapping as mappings
from data.drafts import Drafter
from hotline.errors import InputError
from hotline.task import Task
from hotline.tasks import find

Write = Callable[[str], mappings.Mapping]
SHIPPED = sorted((Path(mappings.__file__).parent / "mappings").glob("*.yaml"))
TASK_OF = {
    "article_answers": "article_answer",
    "questions": "faq_match",
    "cold_reviews": "review_label",
    "reviews": "review_label",
    "teddycup_titles": "ticket_summary",
    "ticket_titles": "ticket_summary",
}


@pytest.mark.parametrize("path", [path for path in SHIPPED if "tree" not in path.name], ids=lambda path: path.stem)
def test_every_shipped_mapping_fits_its_task(path: Path) -> None:
    mapping = mappings.load(path)
    otherwise = "transcription" if "input.audio" in mapping.columns else "ticket_category"
    mapping.check(find(TASK_OF.get(path.stem, otherwise)))


def test_all_problems_are_reported_at_once(mapped: Write) -> None:
    with pytest.raises(InputError) as refused:
        mapped("columns: {id: []}\nmax_quarantined: 2\nlabel: x\n")
    assert all(word in (refused.value.found or "") for word in ("columns.id", "max_quarantined", "label"))


def test_unknown_and_missing_fields_are_listed(mapped: Write, task: Task) -> None:
    mapping = mapped("columns: {input.txt: a, provenance.region: b}\nconstants: {region: x, town: y}\n")
    with pytest.raises(InputError) as refused:
        mapping.check(task)
    found = refused.value.found or ""
    for words in (
        "input.txt: not a field",
        "town: not a provenance",
        "region: both",
        "input.text: missing",
        "label: mi",
    ):
        assert words in found


@pytest.mark.parametrize("text", ["[", "- a\n", "{}", "columns: 3\n"])
def test_what_is_no_mapping_is_refused(mapped: Write, text: str) -> None:
    with pytest.raises(InputError):
        mapped(text)


def test_a_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        mappings.load(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("name", "text", "levels"),
    [
        ("tree.yaml", "城建:\n  照明: [路灯]\n  道路: [井盖, 坑洼]\n教育:\n", ""),
        ("tree.yaml", "[城建/照明/路灯, 城建/道路/井盖, 城建/道路/坑洼, 教育]\n", ""),
        ("tree.csv", "a,b,c\n城建,照明,路灯\n城建,道路,井盖\n城建,道路,坑洼\n教育,,\n", ", levels: [a, b, c]"),
    ],
)
def test_a_tree_is_the_same_from_a_table_and_from_yaml(
    mapped: Write, tmp_path: Path, name: str, text: str, levels: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    mapping = mapped(f"columns: {{input.text: a, target.label: b}}\nlabels: {{path: {name}{levels}}}\n")
    tree = mapping.tree()
    assert tree is not None
    assert tree.leaves == ("城建/照明/路灯", "城建/道路/井盖", "城建/道路/坑洼", "教育")


def test_cells_stand_for_what_the_mapping_says_and_any_other_is_a_reason(mapped: Write, task: Task) -> None:
    mapping = mapped('columns: {input.text: a, target.label: b}\nvalues: {b: {"0": 正常, "1": 歧视}}\n')
    mapping.check(task)
    drafter = Drafter(task, mapping, b"key", {"site": "s"})
    known, other = drafter.drafts("t.csv", [{"a": "路灯坏了", "b": "1"}, {"a": "路灯坏了", "b": "2"}])
    assert (known.target, known.reasons) == ({"label": "歧视"}, [])
    assert other.reasons == ["b: found '2', expected one of 0, 1"]


def test_values_of_a_column_that_is_not_read_are_a_mistake(mapped: Write, task: Task) -> None:
    with pytest.raises(InputError) as refused:
        mapped("columns: {input.text: a, target.label: b}\nvalues: {c: {x: y}}\n").check(task)
    assert "values.c: no column of this mapping" in (refused.value.found or "")
