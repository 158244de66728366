"""A declaration that does not hold together is refused where it is written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from hotline import families, tasks
from hotline.digests import of_value
from hotline.errors import InputError, UnknownName
from hotline.prompts import Prompt
from hotline.task import Bar, Provenance
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY

ORIGIN = {"site": "s", "call_id": "1", "caller_id": "a", "source": "t.xlsx", "label_batch": "b1"}


@pytest.mark.parametrize("conditions", [{}, {"at_least": 0.9, "at_most": 1.0}])
def test_a_bar_has_exactly_one_condition(conditions: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="exactly one condition"):
        Bar("accuracy", **conditions)


def test_a_bar_cannot_name_a_score_or_a_slice_that_nobody_declared() -> None:
    with pytest.raises(ValueError, match="bleu"):
        replace(TICKET_CATEGORY, bars={"demo": (Bar("bleu", at_least=0.9),)})
    with pytest.raises(ValueError, match="weather"):
        replace(TICKET_CATEGORY, bars={"demo": (Bar("accuracy", at_least=0.9, slice="weather"),)})


def test_a_bar_may_name_a_slice_that_inputs_tell_and_that_hides_no_column() -> None:
    tell = {"length": lambda input: "long" if len(input.text) > 100 else "short"}
    bars = {"demo": (Bar("accuracy", at_least=0.9, slice="length"),)}
    assert replace(TICKET_CATEGORY, derived_slices=tell, bars=bars).derived_slices == tell
    with pytest.raises(ValueError, match="channel"):
        replace(TICKET_CATEGORY, derived_slices={"channel": tell["length"]})
    with pytest.raises(ValueError, match="length"):
        replace(TICKET_CATEGORY, derived_slices=tell, split_by=("length",))


def test_a_bar_reads_as_a_sentence() -> None:
    assert Bar("accuracy", at_least=0.8, slice="region").words() == "accuracy at least 0.8 in every region"
    assert Bar("ece", at_most=0.1).words() == "ece at most 0.1"
    assert Bar("accuracy", not_worse_than_champion_by=0.01).words() == "accuracy not worse than the champion by 0.01"


def test_a_row_has_three_typed_parts_and_says_which_one_is_wrong() -> None:
    row = TICKET_CATEGORY.row("1", {"text": " 路燈壞了 "}, {"label": "城建"}, ORIGIN)
    assert row.model_dump()["input"] == {"text": "路燈壞了"}
    assert (row.provenance.dialect, row.provenance.label_source) == ("unknown", "human")
    with pytest.raises(ValidationError, match="txt"):
        TICKET_CATEGORY.row("1", {"txt": "路燈壞了"}, {"label": "城建"}, ORIGIN)


def test_a_dialect_tag_comes_from_the_registry() -> None:
    assert Provenance(**ORIGIN, dialect="yue-hongkong").dialect == "yue-hongkong"
    with pytest.raises(ValidationError, match="hotline dialects"):
        Provenance(**ORIGIN, dialect="klingon")


def test_the_declaration_is_data_that_changes_with_the_input_and_not_with_the_bars() -> None:
    digest = of_value(TICKET_CATEGORY.declaration())
    assert of_value(replace(TICKET_CATEGORY, bars={}).declaration()) == digest
    assert of_value(replace(TICKET_CATEGORY, input=TICKET_CATEGORY.target, prompt=None).declaration()) != digest


def test_a_prompt_changes_what_a_writer_is_made_for_and_not_what_a_classifier_is() -> None:
    other = replace(TICKET_CATEGORY, prompt=Prompt(user="{text}\n哪一类？"))
    for family, changes in (("classifier", False), ("writer", True), ("cascade", True)):
        was, now = (families.by(task, family).declaration() for task in (TICKET_CATEGORY, other))
        assert (was != now) == changes
        assert was["family"] == family


def test_a_family_that_cannot_answer_a_task_is_refused_with_what_it_lacks() -> None:
    assert families.by(TICKET_CATEGORY, None) is TICKET_CATEGORY
    for name, family, lacking in (
        ("ticket_summary", "cascade", "label tree"),
        ("dialect_identification", "writer", "a prompt and an input of text"),
        ("ticket_category", "transcriber", "input of text"),
    ):
        with pytest.raises(InputError, match=lacking):
            families.by(tasks.find(name), family)
    with pytest.raises(UnknownName, match="cascade"):
        families.by(TICKET_CATEGORY, "oracle")


def test_the_label_field_is_found_by_its_mark() -> None:
    assert TICKET_CATEGORY.label_field == "label"


def test_an_unknown_task_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match="ticket_category"):
        tasks.find("ticket_kategory")


def test_harmless_labels_want_a_label_tree_and_one_text_and_are_part_of_the_declaration() -> None:
    assert tasks.find("review_label").declaration()["harmless"] == ["正常"]
    assert "harmless" not in TICKET_CATEGORY.declaration()
    for name in ("transcription", "dialect_identification", "article_answer", "ticket_summary"):
        with pytest.raises(ValueError, match="harmless labels want"):
            replace(tasks.find(name), harmless=("正常",))
