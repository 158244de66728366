"""Scores of answers: overall and for every value of every slice, each with rows, clusters and a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evaluation import statistics
from evaluation.resampling import RESAMPLES, Clusters, independent_clusters
from evaluation.statistics import Interval
from hotline.records import Figure
from hotline.scores import Score
from hotline.task import Answer, Target, Task

if TYPE_CHECKING:
    from data.store import Rows


@dataclass(frozen=True)
class Part:
    """The rows of one value of a slice, or all of them; `clusters` is numbered anew within the part."""

    slice: str | None
    value: str | None
    index: npt.NDArray[np.int64]
    clusters: Clusters

    def cut(self, table: Any) -> Any:
        """The part's rows of a table over all rows."""
        return table if self.slice is None else table[self.index]


def slice_columns(task: Task) -> list[str]:
    """What the task is broken down by: its slices, those its inputs tell, and whatever its bars name."""
    named = {bar.slice for bars in task.bars.values() for bar in bars if bar.slice}
    own = [*task.slices, *task.derived_slices]
    return [*own, *sorted(named - set(own))]


def slice_values(task: Task, column: str, rows: Rows) -> list[str]:
    """The value of each row: of its provenance, or told by its input."""
    tell = task.derived_slices.get(column)
    return rows.provenance[column] if tell is None else [tell(input) for input in rows.inputs]


def parts(task: Task, rows: Rows) -> Iterator[Part]:
    """All rows first, then every value of every slice, in order."""
    clusters = independent_clusters(rows)
    yield Part(None, None, np.arange(len(rows)), clusters)
    for column in slice_columns(task):
        values = np.asarray(slice_values(task, column, rows), dtype=str)
        for value in np.unique(values):
            index = np.flatnonzero(values == value)
            yield Part(column, str(value), index, np.unique(clusters[index], return_inverse=True)[1].astype(np.int64))


def tabulate(
    scores: Mapping[str, Score], targets: Sequence[Target], answers: Sequence[Answer], rows: Rows
) -> dict[str, Any]:
    """The (n, k) statistics of each score. Raises ValueError when targets, answers and rows differ in number."""
    if not len(targets) == len(answers) == len(rows) or not len(rows):
        raise ValueError(f"{len(targets)} targets, {len(answers)} answers and {len(rows)} rows")
    return {name: score.statistics(targets, answers) for name, score in scores.items()}


def measure(
    task: Task, targets: Sequence[Target], answers: Sequence[Answer], rows: Rows, seed: int = 0
) -> tuple[Figure, ...]:
    """Every score of the task, overall and for each value of each slice.

    Raises ValueError when targets, answers and rows differ in number, or there are none.
    """
    own = tabulate(task.scores, targets, answers, rows)
    return weigh(task.scores, own, {}, parts(task, rows), seed=seed)[0]


def differences(
    task: Task,
    targets: Sequence[Target],
    a_answers: Sequence[Answer],
    b_answers: Sequence[Answer],
    rows: Rows,
    seed: int = 0,
    only: Sequence[str] | None = None,
) -> tuple[Figure, ...]:
    """b − a on the same rows and the same resamples, for every score (or those in `only`), overall and per slice.

    Raises ValueError as `measure` does.
    """
    scores = {name: score for name, score in task.scores.items() if only is None or name in only}
    a, b = (tabulate(scores, targets, answers, rows) for answers in (a_answers, b_answers))
    return weigh(scores, b, a, parts(task, rows), seed=seed)[1]


def weigh(
    scores: Mapping[str, Score],
    own: Mapping[str, Any],
    other: Mapping[str, Any],
    over: Iterable[Part],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[tuple[Figure, ...], tuple[Figure, ...]]:
    """The figures of one system, and its differences to another one in the scores that the other has statistics of.

    `own` and `other` are the (n, k) statistics by score name; everything about a part is on the same resamples.
    """
    figures: list[Figure] = []
    differences: list[Figure] = []
    for part in over:
        sides = [
            (score, part.cut(own[name]), part.cut(other[name]) if name in other else None)
            for name, score in scores.items()
        ]
        found = statistics.against(sides, part.clusters, resamples, seed)
        for name, (interval, apart) in zip(scores, found, strict=True):
            figures.append(_figure(name, part, interval))
            differences += [] if apart is None else [_figure(name, part, apart)]
    return tuple(figures), tuple(differences)


def flat(figures: Sequence[Figure], ends: bool = True) -> dict[str, float]:
    """Figures by name: `macro_f1`, `macro_f1_low`, `macro_f1_high`, `accuracy/region/天河区`; not the undefined."""
    found: dict[str, float | None] = {}
    for figure in figures:
        name = f"{figure.score}/{figure.slice}/{figure.value}" if figure.slice else figure.score
        found[name] = figure.estimate
        if ends and not figure.slice:
            found |= {f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {name: value for name, value in found.items() if value is not None}


def _figure(name: str, part: Part, interval: Interval) -> Figure:
    """NaN becomes None: a record holds no number that JSON cannot write."""

    def finite(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    return Figure(
        score=name,
        slice=part.slice,
        value=part.value,
        rows=len(part.index),
        clusters=interval.clusters,
        estimate=finite(interval.estimate),
        low=finite(interval.low),
        high=finite(interval.high),
    )
