"""Scores of what answers cost agree with numpy to their stated 1 %, and what was not measured is no figure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline.cost_scores import gpu_memory_gib, latency, latency_p50, memory_gib, rtf
from hotline.costs import Cost
from hotline.scores import Score
from hotline.task import Answer, Target

few = settings(max_examples=60, deadline=None)


class Nothing(Target):
    pass


def of(score: Score, *costs: Cost | None) -> float:
    answers = [Answer(target=Nothing(), confidence=1.0, cost=cost) for cost in costs]
    return score([Nothing()] * len(costs), answers)


def took(seconds: float, **others: float) -> Cost:
    return Cost.model_validate({"seconds": seconds, "memory_gib": 1.0} | others)


@few
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=40), st.sampled_from([0.5, 0.9, 0.95, 1.0]))
def test_a_quantile_is_that_of_numpy_to_one_per_cent(seconds: list[float], share: float) -> None:
    expected = float(np.quantile(seconds, share, method="inverted_cdf"))
    found = of(latency(share), *(took(each) for each in seconds))
    assert expected * 0.9999 <= found <= expected * 1.0101


def test_the_real_time_factor_is_of_all_the_sound_together() -> None:
    assert of(rtf, took(1, audio_seconds=10), took(3, audio_seconds=10)) == pytest.approx(0.2)
    assert math.isnan(of(rtf, took(1)))


def test_memory_is_the_largest_of_any_answer() -> None:
    assert of(memory_gib, took(1), took(1, memory_gib=2.5)) == pytest.approx(2.5, rel=0.011)
    assert of(gpu_memory_gib, took(1)) <= 1.01e-4


def test_answers_without_a_cost_do_not_count_and_none_at_all_is_no_figure() -> None:
    assert of(latency_p50, None, took(2), None) == pytest.approx(2, rel=0.011)
    assert math.isnan(of(latency_p50, None))


def test_less_is_better_and_rows_are_to_be_answered_one_at_a_time() -> None:
    for score in (latency_p50, rtf, memory_gib):
        assert score.timed and not score.higher_is_better
