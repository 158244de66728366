"""What chance does to a figure: resamples of whole clusters, and swaps of two systems' answers cluster by cluster.

Rows of one caller, one call or one group of near-duplicates are not independent, so whole clusters are drawn or
swapped, never rows. Scores are additive statistics (hotline.scores), so a resample is one matrix product whatever the
score. Legend: n rows, k statistics, C clusters, r resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hotline.scores import Score

Array = npt.NDArray[np.float64]
Clusters = npt.NDArray[np.int64]

RESAMPLES = 2000
CHUNK_CELLS = 1 << 17
"""Numbers held at once per array: a megabyte of float64, which stays in the processor's cache."""
KEPT_CELLS = 1 << 21
"""Weights of at most this many numbers (16 MiB) are kept for the next score or system over as many clusters."""
DENSE_COLUMNS = 64
"""Statistics of at most this many columns are multiplied densely."""


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


def effective_clusters(clusters: Clusters) -> float:
    """As many clusters of equal size would say as much (Kish 1965): C where all are equal, less where one rules."""
    sizes = np.bincount(clusters).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def cluster_sums(statistics: Any, clusters: Clusters) -> Any:
    """(n, k) statistics summed within clusters, (C, k): dense where k is small. Raises ValueError for other lengths."""
    rows_n = len(clusters)
    if statistics.shape[0] != rows_n:
        raise ValueError(f"{statistics.shape[0]} rows of statistics and {rows_n} of clusters")
    if not rows_n:
        raise ValueError("there are no rows to resample")
    if isinstance(statistics, np.ndarray) and statistics.shape[1] <= DENSE_COLUMNS:
        return np.column_stack([np.bincount(clusters, weights=column) for column in statistics.T])
    member = sparse.csr_array((np.ones(rows_n), (clusters, np.arange(rows_n))), shape=(int(clusters.max()) + 1, rows_n))
    sums = sparse.csr_array(member @ sparse.csr_array(statistics))
    return sums.toarray() if sums.shape[1] <= DENSE_COLUMNS else sums


def resample(
    scores: Sequence[tuple[Score, Any]], clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0
) -> list[tuple[float, Array]]:
    """For each (score, its statistics): the figure, and the figure of each of `resamples` resamples.

    All share the same resamples, so differences between them are paired. Raises ValueError when lengths differ.
    """
    sums = [cluster_sums(statistics, clusters) for _, statistics in scores]
    drawn: list[list[Array]] = [[] for _ in scores]
    for weights in _weights(_draws, sums, resamples, seed):
        for number, part in enumerate(_products(weights, sums)):
            drawn[number].append(scores[number][0].finish(part))
    return [
        (float(score.finish(_total(part))[0]), np.concatenate(chunks))
        for (score, _), part, chunks in zip(scores, sums, drawn, strict=True)
    ]


def swap(
    pairs: Sequence[tuple[Score, Any, Any]], clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0
) -> list[tuple[float, Array]]:
    """For each (score, a's statistics, b's): b − a, and b − a after each of `resamples` random swaps of clusters.

    Where it does not matter whose answer is whose, the difference is one like the others (Noreen 1989).
    """
    a, b = ([cluster_sums(pair[side], clusters) for pair in pairs] for side in (1, 2))
    apart = [right - left for left, right in zip(a, b, strict=True)]
    totals = [(_total(left), _total(right)) for left, right in zip(a, b, strict=True)]
    drawn: list[list[Array]] = [[] for _ in pairs]
    for weights in _weights(_coins, apart, resamples, seed):
        for number, moved in enumerate(_products(weights, apart)):
            (left, right), finish = totals[number], pairs[number][0].finish
            drawn[number].append(finish(right - moved) - finish(left + moved))
    return [
        (float(score.finish(right)[0] - score.finish(left)[0]), np.concatenate(chunks))
        for (score, _, _), (left, right), chunks in zip(pairs, totals, drawn, strict=True)
    ]


Weights = Callable[[int, int, int, int], Iterator[Array]]


def _weights(kind: Weights, sums: Sequence[Any], resamples: int, seed: int) -> Iterator[Array]:
    """(r, C) at a time; the same for the same clusters, resamples and seed."""
    if not sums:
        raise ValueError("there is no score to resample")
    clusters_n, width = sums[0].shape[0], max(part.shape[1] for part in sums)
    if clusters_n * resamples <= KEPT_CELLS and width <= DENSE_COLUMNS:
        yield from _kept(kind, clusters_n, resamples, seed)
    else:
        yield from kind(clusters_n, max(1, CHUNK_CELLS // max(clusters_n, width)), resamples, seed)


@lru_cache(maxsize=16)
def _kept(kind: Weights, clusters_n: int, resamples: int, seed: int) -> tuple[Array, ...]:
    return tuple(kind(clusters_n, max(1, CHUNK_CELLS // clusters_n), resamples, seed))


def _draws(clusters_n: int, step: int, resamples: int, seed: int) -> Iterator[Array]:
    """Multinomial weights: how often each cluster is in each resample."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = generator.integers(0, clusters_n, size=(count, clusters_n))
        drawn += np.arange(count)[:, None] * clusters_n
        weights = np.bincount(drawn.ravel(), minlength=count * clusters_n)
        yield weights.reshape(count, clusters_n).astype(np.float64)


def _coins(clusters_n: int, step: int, resamples: int, seed: int) -> Iterator[Array]:
    """1 where a cluster is swapped, 0 where it is not: a bit each, whole words per resample."""
    generator = np.random.default_rng(seed)
    words = -(-clusters_n // 64)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        bits = np.unpackbits(
            generator.integers(0, 1 << 64, size=(count, words), dtype=np.uint64).view(np.uint8), axis=1
        )
        yield bits[:, :clusters_n].astype(np.float64)


def _products(weights: Array, sums: Sequence[Any]) -> Iterator[Array]:
    """weights @ each of the sums; those of narrow statistics in one go."""
    narrow = [part for part in sums if isinstance(part, np.ndarray)]
    ends = np.cumsum([part.shape[1] for part in narrow])
    together = iter(np.split(weights @ np.hstack(narrow), ends[:-1], axis=1) if narrow else ())
    for part in sums:
        yield next(together) if isinstance(part, np.ndarray) else np.asarray((part.T @ weights.T).T)


def _total(sums: Any) -> Array:
    return np.asarray(sums.sum(axis=0), dtype=np.float64).reshape(1, -1)
