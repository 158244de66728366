"""Small slices lean on the others, and say so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.shrinkage import shared, shrink
from hotline.records import Figure


def figure(value: str, estimate: float, half: float) -> Figure:
    return Figure(
        score="cer",
        slice="dialect",
        value=value,
        rows=100,
        clusters=50,
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
    )


def test_slices_that_differ_by_chance_alone_become_their_common_mean() -> None:
    drawn, spread = shrink([0.10, 0.11, 0.09], [0.02, 0.02, 0.02])
    assert spread == 0
    assert drawn == pytest.approx([0.10] * 3)


def test_a_slice_that_is_sure_stays_and_one_that_is_not_leans_on_the_others() -> None:
    drawn, spread = shrink([0.05, 0.20, 0.10, 0.35], [0.005, 0.005, 0.005, 0.2])
    assert spread > 0.03
    assert drawn[:3] == pytest.approx([0.05, 0.20, 0.10], abs=0.002)
    assert 0.11 < drawn[3] < 0.16


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 1)), min_size=2, max_size=10))
def test_sharing_never_leaves_the_range_of_the_figures(pairs: list[tuple[float, float]]) -> None:
    estimates, errors = (list(column) for column in zip(*pairs, strict=True))
    drawn, _ = shrink(estimates, errors)
    assert (drawn >= min(estimates) - 1e-9).all() and (drawn <= max(estimates) + 1e-9).all()


def test_shared_strength_is_nearer_to_the_truth_on_average() -> None:
    draw, alone, together = np.random.default_rng(4), 0.0, 0.0
    for _ in range(300):
        truth = draw.normal(0.1, 0.01, 8)
        errors = draw.uniform(0.005, 0.03, 8)
        seen = draw.normal(truth, errors)
        alone += float(((seen - truth) ** 2).sum())
        together += float(((shrink(seen, errors)[0] - truth) ** 2).sum())
    assert together < 0.6 * alone


def test_two_values_have_nothing_to_share_and_a_figure_without_interval_takes_no_part() -> None:
    assert shared([figure("cmn", 0.1, 0.01), figure("yue", 0.2, 0.01)]) == {}
    unknown = Figure(score="cer", slice="dialect", value="hak", rows=3, clusters=3, estimate=None, low=None, high=None)
    known = [figure("cmn", 0.1, 0.01), figure("yue", 0.12, 0.01), figure("en", 0.11, 0.05)]
    assert set(shared([*known, unknown])) == {"cmn", "yue", "en"}
    with pytest.raises(ValueError, match="standard errors above 0"):
        shrink([0.1, 0.2], [0.1, 0.0])
