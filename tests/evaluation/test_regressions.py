"""A slice that regressed is named, and of equal systems hardly ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evaluation.regressions import claims
from evaluation.weighing import weigh_answers
from hotline.scores import accuracy
from hotline.task import Bar
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY

EVERYWHERE = Bar("accuracy", not_worse_than_champion_by=0.05)
EACH = Bar("accuracy", not_worse_than_champion_by=0.1, slice="region")
TASK = replace(
    TICKET_CATEGORY, scores={"accuracy": accuracy}, bars={"demo": (EVERYWHERE, EACH)}, targets={}, slices=("region",)
)
REGIONS = ("天河", "越秀", "香江", "番禺")


def named(table: Any, answers: Any, wrong: Any, rows_n: int = 400) -> dict[str | None, bool]:
    rows = table(rows_n, regions=REGIONS)
    weighed = weigh_answers(TASK, "demo", rows, answers(rows, wrong=wrong), answers(rows))
    assert all(test.p_holm >= test.p for test in weighed.tests)
    return {test.value: test.claimed for test in weighed.tests}


def test_the_one_region_that_regressed_is_named_and_no_other(table: Any, answers: Any) -> None:
    found = named(table, answers, lambda number: number % 4 == 2 and number % 5 == 0)
    assert found == {None: True, "天河": False, "越秀": False, "香江": True, "番禺": False}


def test_the_same_answers_regress_nowhere(table: Any, answers: Any) -> None:
    assert not any(named(table, answers, lambda number: False).values())


def test_better_answers_are_no_regression(table: Any, answers: Any) -> None:
    rows = table(400, regions=REGIONS)
    champion = answers(rows, wrong=lambda number: number % 3 == 0)
    assert not any(test.claimed for test in weigh_answers(TASK, "demo", rows, answers(rows), champion).tests)


def test_a_region_below_its_minimum_of_rows_is_not_tested(table: Any, answers: Any) -> None:
    assert set(named(table, answers, lambda number: False, rows_n=60)) == {None}


def test_without_a_champion_nothing_is_claimed(table: Any, answers: Any) -> None:
    rows = table(40, regions=REGIONS)
    weighed = weigh_answers(TASK, "demo", rows, answers(rows), None)
    assert weighed.tests == weighed.differences == ()
    assert weighed.figures


def test_a_profile_without_relative_bars_claims_nothing(table: Any, answers: Any) -> None:
    rows = table(40, regions=REGIONS)
    assert weigh_answers(TASK, "production", rows, answers(rows), answers(rows)).tests == ()


def test_of_equal_systems_any_region_is_named_no_more_often_than_promised() -> None:
    from evaluation.measure import Part

    draw, trials, found = np.random.default_rng(11), 300, 0
    whole = Part(None, None, np.arange(160), np.arange(160))
    cut = [Part("region", str(k), np.arange(k * 20, k * 20 + 20), np.arange(20)) for k in range(8)]
    for _ in range(trials):
        easy = draw.beta(8, 2, 160)
        a, b = (np.column_stack([draw.random(160) < easy, np.ones(160)]).astype(float) for _ in range(2))
        tests = claims(TASK, "demo", {"accuracy": b}, {"accuracy": a}, [whole, *cut], resamples=400)
        found += any(test.claimed for test in tests)
    assert found / trials <= 0.08  # at most 5 % promised, the rest is chance of 300 trials


@pytest.mark.parametrize("seed", [1, 2])
def test_claims_are_the_same_for_the_same_seed(seed: int) -> None:
    from evaluation.measure import Part

    draw = np.random.default_rng(seed)
    a, b = (np.column_stack([draw.random(50) < 0.8, np.ones(50)]).astype(float) for _ in range(2))
    whole = [Part(None, None, np.arange(50), np.arange(50))]
    one, again = (claims(TASK, "demo", {"accuracy": b}, {"accuracy": a}, whole, seed=seed) for _ in range(2))
    assert one == again
