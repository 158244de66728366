"""Is a difference more than chance? The field's paired tests, and Holm's correction for making many at once.

None of them decides a bar: a large p is no evidence of being equal. Differences are b − a throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, chi2, norm

from evaluation.resampling import RESAMPLES, Array, Clusters, swap
from evaluation.statistics import as_pair
from hotline.scores import Score

Alternative = Literal["two-sided", "less", "greater"]
"""What is claimed of b − a, as scipy.stats names it."""


@dataclass(frozen=True)
class Significance:
    """A test's statistic, and how often chance alone would bring one at least as extreme."""

    statistic: float
    p: float


def approximate_randomisation(
    a: Any,
    b: Any,
    clusters: Clusters,
    *,
    score: Score | None = None,
    alternative: Alternative = "two-sided",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Significance:
    """Whether b − a is more than it would be if it did not matter whose answer is whose (Noreen 1989).

    Answers are swapped cluster by cluster. `a`, `b` and `score` as in `statistics.paired`; the statistic is b − a. The
    observed assignment counts as one of the random ones, so that p is never 0.
    """
    ((difference, drawn),) = swap([as_pair(a, b, score)], clusters, resamples, seed)
    return Significance(difference, as_extreme(difference, drawn, alternative))


def as_extreme(difference: float, drawn: Array, alternative: Alternative = "two-sided") -> float:
    """How much of `drawn`, with the difference itself, is at least as extreme as the difference; NaN if undefined."""
    if not np.isfinite(difference):
        return float("nan")
    turned = {"two-sided": np.abs, "greater": np.positive, "less": np.negative}[alternative]
    # sums of the same numbers in another order differ in their last bits
    extreme = turned(drawn) >= turned(np.float64(difference)) - 1e-12
    return float((1 + extreme.sum()) / (1 + len(drawn)))


def mapsswe(a_errors: npt.ArrayLike, b_errors: npt.ArrayLike) -> Significance:
    """Matched pairs of sentence segments: z of the mean of b − a errors per segment, p two-sided (Gillick & Cox 1989).

    Errors made in one segment must be independent of those in another: segments end where both systems are right.
    Equal errors in every segment give z 0 and p 1. Raises ValueError for other lengths or fewer than two segments.
    """
    apart = _apart(a_errors, b_errors)
    spread = float(apart.std(ddof=1))
    if spread == 0:
        constant = float(apart[0])
        return Significance(float(np.sign(constant)) * np.inf if constant else 0.0, 0.0 if constant else 1.0)
    z = float(apart.mean() / (spread / np.sqrt(len(apart))))
    return Significance(z, float(2 * norm.sf(abs(z))))


def _apart(a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1 or len(left) < 2:
        raise ValueError(f"two or more segments of both systems are needed, found {left.shape} and {right.shape}")
    return right - left


def mcnemar(a_right: npt.ArrayLike, b_right: npt.ArrayLike, *, exact: bool = True) -> Significance:
    """Whether a and b are right equally often, from the rows where only one of them is (McNemar 1947), two-sided.

    Exact: the statistic is how many rows b alone has right, p is binomial. Else χ² with Edwards' continuity correction
    (1948), of one degree of freedom. Rows must be independent: one per cluster. Raises ValueError for other lengths.
    """
    left, right = np.asarray(a_right, dtype=bool), np.asarray(b_right, dtype=bool)
    if left.shape != right.shape:
        raise ValueError(f"{left.shape} and {right.shape} rows")
    only_a, only_b = int((left & ~right).sum()), int((right & ~left).sum())
    unlike = only_a + only_b
    if exact:
        return Significance(only_b, float(binomtest(only_b, unlike).pvalue) if unlike else 1.0)
    statistic = max(abs(only_a - only_b) - 1, 0) ** 2 / unlike if unlike else 0.0
    return Significance(statistic, float(chi2.sf(statistic, 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p after Holm's step-down correction (Holm 1979), in the given order.

    Claims whose corrected p is at most 5 % are all true with probability 95 %, however the tests depend on each other.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = highest
    return corrected
