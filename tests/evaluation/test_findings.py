"""The pure decision: what was not measured did not pass, and one weak slice is enough to refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.findings import Standing, decide, outcome
from hotline.records import Figure, Finding, Outcome
from hotline.scores import accuracy, ece
from hotline.task import Bar
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY

FLOOR = Bar("accuracy", at_least=0.8)
CEILING = Bar("ece", at_most=0.1)
RELATIVE = Bar("accuracy", not_worse_than_champion_by=0.03)
EVERY_REGION = Bar("accuracy", at_least=0.8, slice="region")


def figure(low: float | None, high: float | None, **changed: Any) -> Figure:
    estimate = None if low is None or high is None else (low + high) / 2
    fields = {"score": "accuracy", "rows": 100, "clusters": 90, "estimate": estimate, "low": low, "high": high}
    return Figure(**{**fields, **changed})


def region(value: str, low: float | None, high: float | None, **changed: Any) -> Figure:
    return figure(low, high, slice="region", value=value, **changed)


def found(
    bar: Bar,
    *figures: Figure,
    paired: tuple[Figure, ...] = (),
    standing: Standing = "challenger",
    known: dict[str, list[str]] | None = None,
) -> list[Finding]:
    task = replace(TICKET_CATEGORY, scores={"accuracy": accuracy, "ece": ece}, bars={"demo": (bar,)}, targets={})
    return list(decide(task, "demo", figures, paired, standing, known))


def outcomes(*arguments: Any, **named: Any) -> list[Outcome]:
    return [finding.outcome for finding in found(*arguments, **named)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.80, 0.90, "passed"),
        (0.79, 0.90, "insufficient evidence"),
        (0.60, 0.80, "insufficient evidence"),
        (0.60, 0.79, "failed"),
    ],
)
def test_a_floor_is_decided_by_the_whole_interval(low: float, high: float, expected: str) -> None:
    assert outcomes(FLOOR, figure(low, high)) == [expected]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.05, 0.10, "passed"), (0.05, 0.11, "insufficient evidence"), (0.11, 0.2, "failed")],
)
def test_a_ceiling_is_the_mirror_of_a_floor(low: float, high: float, expected: str) -> None:
    assert outcomes(CEILING, figure(low, high, score="ece")) == [expected]


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_floor_never_passes_below_its_estimate_nor_fails_above_it(a: float, b: float, at_least: float) -> None:
    low, high = sorted((a, b))
    (decided,) = outcomes(Bar("accuracy", at_least=at_least), figure(low, high))
    assert (decided == "passed") == (low >= at_least)
    assert (decided == "failed") == (high < at_least)


def test_one_weak_region_is_enough_to_refuse_and_is_named() -> None:
    findings = found(EVERY_REGION, region("天河", 0.9, 1), region("香江", 0.2, 0.4), figure(0.95, 1))
    assert [(finding.figure.value, finding.outcome) for finding in findings if finding.figure] == [
        ("天河", "passed"),
        ("香江", "failed"),
    ]
    assert outcome(findings) == "failed"
    assert "0.300 [0.200, 0.400] on 100 rows" in findings[1].reason


def test_a_region_with_too_few_rows_is_insufficient_however_good_or_bad() -> None:
    for low, high in ((0.95, 1.0), (0.0, 0.1)):
        (finding,) = found(EVERY_REGION, region("天河", low, high, rows=19))
        assert finding.outcome == "insufficient evidence"
        assert "at least 20 rows" in finding.reason


def test_a_region_of_the_corpus_without_a_test_row_is_not_exempt() -> None:
    findings = found(EVERY_REGION, region("天河", 0.9, 1), known={"region": ["天河", "番禺"]})
    assert [finding.outcome for finding in findings] == ["passed", "insufficient evidence"]
    assert "番禺" in findings[1].reason


def test_a_slice_bar_without_any_value_is_insufficient() -> None:
    assert outcomes(EVERY_REGION, figure(0.9, 1)) == ["insufficient evidence"]


def test_an_overall_figure_does_not_stand_in_for_a_slice_nor_the_other_way_round() -> None:
    assert outcomes(FLOOR, region("天河", 0.9, 1)) == ["insufficient evidence"]
    assert outcomes(FLOOR, figure(0.9, 1, score="macro_f1")) == ["insufficient evidence"]


def test_a_score_that_is_not_a_number_fails() -> None:
    nothing = figure(None, None)
    assert outcomes(FLOOR, nothing) == ["failed"]
    for standing in ("first model", "champion", "challenger"):
        assert outcomes(RELATIVE, nothing, paired=(nothing,), standing=standing) == ["failed"]


def test_an_estimate_without_an_interval_is_insufficient() -> None:
    assert outcomes(FLOOR, figure(None, None, estimate=0.99)) == ["insufficient evidence"]


def test_only_the_first_model_or_the_champion_itself_is_spared_the_comparison() -> None:
    weak = figure(-0.2, -0.1)
    own = figure(0.5, 0.6)
    first, itself, other = (
        found(RELATIVE, own, paired=(weak,), standing=standing)[0]
        for standing in ("first model", "champion", "challenger")
    )
    assert (first.outcome, itself.outcome, other.outcome) == ("passed", "passed", "failed")
    assert "first model of this task at this site" in first.reason
    assert "is the champion" in itself.reason
    assert other.figure == weak


def test_a_challenger_that_was_not_compared_fails() -> None:
    assert outcomes(RELATIVE, figure(0.9, 1)) == ["failed"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.03, 0.01, "passed"), (-0.031, 0.01, "insufficient evidence"), (-0.2, -0.031, "failed")],
)
def test_a_candidate_may_be_worse_by_the_margin_and_no_more(low: float, high: float, expected: str) -> None:
    assert outcomes(RELATIVE, figure(0.9, 1), paired=(figure(low, high),)) == [expected]


def test_for_an_error_score_worse_means_higher() -> None:
    bar = Bar("ece", not_worse_than_champion_by=0.03)
    own = figure(0.1, 0.2, score="ece")
    assert outcomes(bar, own, paired=(figure(-0.5, 0.02, score="ece"),)) == ["passed"]
    assert outcomes(bar, own, paired=(figure(0.04, 0.5, score="ece"),)) == ["failed"]


def test_a_relative_bar_over_a_slice_compares_every_value() -> None:
    bar = Bar("accuracy", not_worse_than_champion_by=0.03, slice="region")
    own = (region("天河", 0.9, 1), region("香江", 0.9, 1))
    paired = (region("天河", -0.01, 0.01), region("香江", -0.3, -0.2))
    assert outcomes(bar, *own, paired=paired) == ["passed", "failed"]


@given(st.lists(st.sampled_from(["passed", "failed", "insufficient evidence"])))
def test_the_outcome_is_that_of_the_worst_finding(each: list[Outcome]) -> None:
    findings = [Finding(bar="b", outcome=one, reason="r") for one in each]
    decided = outcome(findings)
    assert (decided == "failed") == ("failed" in each)
    assert (decided == "passed") == (bool(each) and set(each) == {"passed"})


def test_nothing_demanded_is_nothing_passed() -> None:
    assert decide(TICKET_CATEGORY, "demo", [], [], "first model") != ()
    empty = replace(TICKET_CATEGORY, bars={})
    assert decide(empty, "production", [figure(1, 1)], [], "first model") == ()
    assert outcome(()) == "insufficient evidence"
