"""How sure a figure is: 95 % intervals of scores and of paired differences, and what an interval decides.

The rules, stated once:

- A bar is decided by a 95 % interval: passed when its worse end reaches the bar, failed when its better end does not,
  insufficient evidence in between. "Not significant" is never "equal".
- A version passes only if every bar does, so each bar is tested by itself at 5 %, 2.5 % on each side, without
  correction (an intersection–union test, Berger 1982): passing one that misses any one bar is no likelier than that.
- The claim that a slice regressed is made if any of many tests finds it, so those tests are corrected (Holm 1979,
  `evaluation.regressions`). The claim decides nothing: a bar does.
- Small slices share strength only in what is shown beside (`evaluation.shrinkage`), never in what is decided.

Legend: n rows, k statistics, C clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from evaluation.resampling import RESAMPLES, Array, Clusters, effective_clusters, resample
from hotline.records import Outcome
from hotline.scores import Score, mean

LEVEL = 0.95
Z = float(norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; NaN where it is undefined."""

    estimate: float
    low: float
    high: float
    standard_error: float
    clusters: int


def wilson(share: float, size: float) -> tuple[float, float]:
    """The Wilson score interval of a share over `size` independent observations (Wilson 1927)."""
    spread = Z * Z / size
    middle = (share + spread / 2) / (1 + spread)
    half = np.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    # at 0 and 1 the ends meet the share exactly; rounding must not push them past it
    return min(max(0.0, middle - half), share), max(min(1.0, middle + half), share)


def _percentiles(drawn: Array, clusters: Clusters) -> tuple[float, float]:
    """The percentile interval, as far out as Student's t of so few clusters demands (Hesterberg 2015, section 5.3.2).

    The plain percentiles are too narrow: resamples of C clusters vary by (C − 1)/C of what they should, and by a
    normal distribution. With many clusters both are the same.
    """
    tail = _tail(effective_clusters(clusters))
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


@lru_cache(maxsize=256)
def _tail(clusters_n: float) -> float:
    size = max(clusters_n, 1 + 1e-9)
    widened = np.sqrt(size / (size - 1)) * student.ppf((1 + LEVEL) / 2, size - 1)
    return 100 * float(norm.cdf(-widened))


def _around(score: Score, estimate: float, drawn: Array, clusters: Clusters) -> Interval:
    clusters_n = int(clusters.max()) + 1
    error = float(drawn.std(ddof=1)) if len(drawn) > 1 else float("nan")
    if not (np.isfinite(estimate) and np.isfinite(error)):
        return Interval(estimate, float("nan"), float("nan"), float("nan"), clusters_n)
    # resamples of five right answers are all right: no spread is no evidence of 100 %, only the clusters count then
    flat = error < 1e-12
    if score.bounded:
        size = clusters_n if flat else min(estimate * (1 - estimate) / error**2, len(clusters))
        low, high = wilson(estimate, max(size, 1.0))
    elif flat and score.error_rate and estimate == 0:
        # no error in C clusters: as many clusters may be wrong elsewhere as C right-or-wrong ones would allow
        low, high = wilson(0.0, clusters_n)
    elif flat and score.timed:
        low, high = estimate, estimate  # memory that no answer changes is what it is
    elif flat:
        low, high = float("nan"), float("nan")
    else:
        low, high = _percentiles(drawn, clusters)
    return Interval(estimate, low, high, error, clusters_n)


def _between(score: Score, difference: float, drawn: Array, clusters: Clusters) -> Interval:
    clusters_n, error = int(clusters.max()) + 1, float(drawn.std(ddof=1))
    low, high = _percentiles(drawn, clusters)
    if score.bounded or (score.error_rate and error < 1e-12 and difference == 0):
        unseen = 1 / (clusters_n + 2)
        error = float(np.hypot(error, unseen))
        low, high = min(low, difference - Z * unseen), max(high, difference + Z * unseen)
    elif error < 1e-12 and not score.timed:
        low, high = float("nan"), float("nan")
    return Interval(difference, low, high, error, clusters_n)


def intervals(
    scores: Sequence[tuple[Score, Any]], clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """The 95 % interval of each (score, its (n, k) statistics).

    A score in [0, 1] gets the Wilson interval of the effective number of rows that the clustered bootstrap's standard
    error implies (Korn and Graubard 1998): with 20 right-or-wrong rows at 0.9 the percentile interval lay wholly above
    the truth 10.5 % of the time, this one never. Other scores get the percentile interval, widened for few clusters.
    """
    return [own for own, _ in against([(score, own, None) for score, own in scores], clusters, resamples, seed)]


def interval(score: Score, statistics: Any, clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The 95 % interval of one score; see `intervals`."""
    return intervals([(score, statistics)], clusters, resamples, seed)[0]


def against(
    scores: Sequence[tuple[Score, Any, Any | None]], clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0
) -> list[tuple[Interval, Interval | None]]:
    """For each (score, own statistics, another system's or None): the own interval, and that of own − other.

    All are on the same resamples; see `intervals` and `paired`.
    """
    asked = [(score, side) for score, *sides in scores for side in sides if side is not None]
    drawn = iter(resample(asked, clusters, resamples, seed))
    found: list[tuple[Interval, Interval | None]] = []
    for score, _, other in scores:
        estimate, figures = next(drawn)
        own, apart = _around(score, estimate, figures, clusters), None
        if other is not None:
            theirs, their_figures = next(drawn)
            apart = _between(score, estimate - theirs, figures - their_figures, clusters)
        found.append((own, apart))
    return found


def paired(
    a: Any,
    b: Any,
    clusters: Clusters,
    *,
    score: Score | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The 95 % interval of b − a over the same rows: a percentile interval, both on the same resamples.

    `a` and `b` are (n, k) statistics of `score`, or without one n plain values whose mean is meant. For scores in
    [0, 1], and for plain values that all are, it is never narrower than one unseen disagreement each way makes it
    (Agresti and Min 2005): two models that agree on five rows have not been shown to be equal. Nor is it for error
    rates without a difference. Raises ValueError when lengths differ or there are no rows.
    """
    kind, left, right = as_pair(a, b, score)
    ((_, apart),) = against([(kind, right, left)], clusters, resamples, seed)
    if apart is None:
        raise ValueError("two systems are needed")
    return apart


def as_pair(a: Any, b: Any, score: Score | None) -> tuple[Score, Any, Any]:
    """(score, a's statistics, b's); without a score, of the mean of the plain values that `a` and `b` are."""
    if score is not None:
        return score, a, b
    values = [np.asarray(side, dtype=np.float64).ravel() for side in (a, b)]
    shares = all(len(side) and side.min() >= 0 and side.max() <= 1 for side in values)
    tables = [np.column_stack([side, np.ones(len(side))]) for side in values]
    return Score("mean", _no_statistics, mean, bounded=shares), tables[0], tables[1]


def _no_statistics(*_: Any) -> Array:
    raise TypeError("plain values are their own statistics")


def non_inferior(low: float, high: float, margin: float, higher_is_better: bool = True) -> Outcome:
    """Whether a paired difference b − a, with interval [low, high], shows that b is not worse by more than `margin`.

    "Not significant" is never "equal": an interval that reaches past the margin is insufficient evidence.
    """
    worst, best = (low, high) if higher_is_better else (-high, -low)
    if worst >= -margin:
        return "passed"
    return "failed" if best < -margin else "insufficient evidence"


def minimum_detectable_effect(standard_error: float, power: float = 0.8) -> float:
    """The smallest true difference that an interval with this standard error excludes zero for, with that power."""
    return float((Z + norm.ppf(power)) * standard_error)
