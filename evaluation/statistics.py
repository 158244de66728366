"""How sure a figure is: bootstrap over independent clusters, and paired differences on the same resamples.

Rows of one caller, one call or one group of near-duplicates are not independent, so whole clusters are drawn, never
rows. Scores are additive statistics (hotline.scores), so a resample is one matrix product whatever the score.
Legend: n rows, k statistics, C clusters, r resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.stats import norm

from hotline.records import Outcome
from hotline.scores import Score

Array = npt.NDArray[np.float64]
Clusters = npt.NDArray[np.int64]

RESAMPLES = 2000
LEVEL = 0.95
Z = float(norm.ppf((1 + LEVEL) / 2))
CHUNK_CELLS = 1 << 23
"""Numbers held at once per array: 64 MiB of float64, whatever the number of rows."""


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; NaN where it is undefined."""

    estimate: float
    low: float
    high: float
    standard_error: float
    clusters: int


class Grouped(Protocol):
    """The columns of `data.store.Rows` that say which rows belong together."""

    @property
    def provenance(self) -> dict[str, list[str]]: ...

    @property
    def clusters(self) -> list[str]: ...


def independent_clusters(rows: Grouped) -> Clusters:
    """A number per row; rows share it when a chain of common calls, callers or near-duplicates joins them."""
    keys = [rows.provenance["call_id"], rows.provenance["caller_id"], rows.clusters]
    rows_n = len(rows.clusters)
    codes, offset = [], rows_n
    for key in keys:
        _, numbers = np.unique(np.asarray(key, dtype=str), return_inverse=True)
        codes.append(numbers + offset)
        offset += len(key)
    ends = np.concatenate(codes) if rows_n else np.zeros(0, dtype=np.int64)
    starts = np.tile(np.arange(rows_n), len(keys))
    graph = sparse.coo_array((np.ones(len(ends)), (starts, ends)), shape=(offset, offset))
    _, component = sparse.csgraph.connected_components(graph, directed=False)
    return np.unique(component[:rows_n], return_inverse=True)[1].astype(np.int64)


def _cluster_sums(statistics: Any, clusters: Clusters) -> sparse.csr_array:
    """(n, k) statistics summed within clusters: (C, k)."""
    rows_n = len(clusters)
    if statistics.shape[0] != rows_n:
        raise ValueError(f"{statistics.shape[0]} rows of statistics and {rows_n} of clusters")
    size = int(clusters.max()) + 1 if rows_n else 0
    member = sparse.csr_array((np.ones(rows_n), (clusters, np.arange(rows_n))), shape=(size, rows_n))
    return sparse.csr_array(member @ sparse.csr_array(statistics))


def _draws(clusters_n: int, width: int, resamples: int, seed: int) -> Iterator[Array]:
    """Multinomial weights, (r, C) at a time: how often each cluster is in each resample."""
    generator = np.random.default_rng(seed)
    step = max(1, CHUNK_CELLS // max(clusters_n, width, 1))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = generator.integers(0, clusters_n, size=(count, clusters_n))
        drawn += np.arange(count)[:, None] * clusters_n
        weights = np.bincount(drawn.ravel(), minlength=count * clusters_n)
        yield weights.reshape(count, clusters_n).astype(np.float64)


def resample(
    scores: Sequence[tuple[Score, Any]], clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0
) -> list[tuple[float, Array]]:
    """For each (score, its statistics): the figure, and the figure of each of `resamples` resamples.

    All share the same resamples, so differences between them are paired. Raises ValueError when lengths differ.
    """
    sums = [_cluster_sums(statistics, clusters) for _, statistics in scores]
    clusters_n = sums[0].shape[0] if sums else 0
    if not clusters_n:
        raise ValueError("there are no rows to resample")
    width = max(part.shape[1] for part in sums)
    figures: list[list[Array]] = [[] for _ in scores]
    for weights in _draws(clusters_n, width, resamples, seed):
        for number, ((score, _), part) in enumerate(zip(scores, sums, strict=True)):
            figures[number].append(score.finish(np.asarray((part.T @ weights.T).T)))
    totals = [np.asarray(part.sum(axis=0), dtype=np.float64).reshape(1, -1) for part in sums]
    return [
        (float(score.finish(total)[0]), np.concatenate(chunks))
        for (score, _), total, chunks in zip(scores, totals, figures, strict=True)
    ]


def wilson(share: float, size: float) -> tuple[float, float]:
    """The Wilson score interval of a share over `size` independent observations (Wilson 1927)."""
    spread = Z * Z / size
    middle = (share + spread / 2) / (1 + spread)
    half = np.sqrt(share * (1 - share) * spread + spread * spread / 4) / (1 + spread)
    # at 0 and 1 the ends meet the share exactly; rounding must not push them past it
    return min(max(0.0, middle - half), share), max(min(1.0, middle + half), share)


def _around(score: Score, estimate: float, figures: Array, rows: int, clusters_n: int) -> Interval:
    error = float(figures.std(ddof=1)) if len(figures) > 1 else float("nan")
    if not (np.isfinite(estimate) and np.isfinite(error)):
        return Interval(estimate, float("nan"), float("nan"), float("nan"), clusters_n)
    # resamples of five right answers are all right: no spread is no evidence of 100 %, only the clusters count then
    flat = error < 1e-12
    if score.bounded:
        size = clusters_n if flat else min(estimate * (1 - estimate) / error**2, rows)
        low, high = wilson(estimate, max(size, 1.0))
    elif flat and score.error_rate and estimate == 0:
        # no error in C clusters: as many clusters may be wrong elsewhere as C right-or-wrong ones would allow
        low, high = wilson(0.0, clusters_n)
    elif flat:
        low, high = float("nan"), float("nan")
    else:
        low, high = (float(end) for end in np.percentile(figures, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]))
    return Interval(estimate, low, high, error, clusters_n)


def intervals(
    scores: Sequence[tuple[Score, Any]], clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0
) -> list[Interval]:
    """The 95 % interval of each (score, its (n, k) statistics).

    A score in [0, 1] gets the Wilson interval of the effective number of rows that the clustered bootstrap's standard
    error implies (Korn and Graubard 1998): with 20 right-or-wrong rows at 0.9 the percentile interval lay wholly above
    the truth 10.5 % of the time, this one never. Other scores get the percentile interval.
    """
    drawn = resample(scores, clusters, resamples, seed)
    clusters_n = int(clusters.max()) + 1
    return [
        _around(score, estimate, figures, len(clusters), clusters_n)
        for (score, _), (estimate, figures) in zip(scores, drawn, strict=True)
    ]


def interval(score: Score, statistics: Any, clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The 95 % interval of one score; see `intervals`."""
    return intervals([(score, statistics)], clusters, resamples, seed)[0]


def paired(
    score: Score,
    a_statistics: Any,
    b_statistics: Any,
    clusters: Clusters,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The 95 % percentile interval of b − a over the same rows, both on the same resamples.

    For scores in [0, 1] it is never narrower than one unseen disagreement each way makes it (Agresti and Min 2005):
    two models that agree on five rows have not been shown to be equal. Nor is it for error rates without a difference.
    """
    (a, a_drawn), (b, b_drawn) = resample([(score, a_statistics), (score, b_statistics)], clusters, resamples, seed)
    difference, drawn, clusters_n = b - a, b_drawn - a_drawn, int(clusters.max()) + 1
    low, high = (float(end) for end in np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)]))
    error = float(drawn.std(ddof=1))
    if score.bounded or (score.error_rate and error < 1e-12 and difference == 0):
        unseen = 1 / (clusters_n + 2)
        error = float(np.hypot(error, unseen))
        low, high = min(low, difference - Z * unseen), max(high, difference + Z * unseen)
    elif error < 1e-12:
        low, high = float("nan"), float("nan")
    return Interval(difference, low, high, error, clusters_n)


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
