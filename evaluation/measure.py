"""Scores of answers: overall and for every value of every slice, each with rows, clusters and a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evaluation import statistics
from evaluation.statistics import Clusters, Interval
from hotline.records import Figure
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
    clusters = statistics.independent_clusters(rows)
    yield Part(None, None, np.arange(len(rows)), clusters)
    for column in slice_columns(task):
        values = np.asarray(slice_values(task, column, rows), dtype=str)
        for value in np.unique(values):
            index = np.flatnonzero(values == value)
            yield Part(column, str(value), index, np.unique(clusters[index], return_inverse=True)[1].astype(np.int64))


def measure(
    task: Task, targets: Sequence[Target], answers: Sequence[Answer], rows: Rows, seed: int = 0
) -> tuple[Figure, ...]:
    """Every score of the task, overall and for each value of each slice.

    Raises ValueError when targets, answers and rows differ in number, or there are none.
    """
    _same_length(targets, answers, rows)
    named = list(task.scores.items())
    whole = [(score, score.statistics(targets, answers)) for _, score in named]
    figures: list[Figure] = []
    for part in parts(task, rows):
        cut = [(score, _cut(table, part)) for score, table in whole]
        found = statistics.intervals(cut, part.clusters, seed=seed)
        figures += [_figure(name, part, interval) for (name, _), interval in zip(named, found, strict=True)]
    return tuple(figures)


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
    _same_length(targets, a_answers, rows)
    _same_length(targets, b_answers, rows)
    scores = {name: score for name, score in task.scores.items() if only is None or name in only}
    tables = {
        name: (score.statistics(targets, a_answers), score.statistics(targets, b_answers))
        for name, score in scores.items()
    }
    figures: list[Figure] = []
    for part in parts(task, rows):
        for name, score in scores.items():
            a, b = (_cut(table, part) for table in tables[name])
            figures.append(_figure(name, part, statistics.paired(score, a, b, part.clusters, seed=seed)))
    return tuple(figures)


def flat(figures: Sequence[Figure], ends: bool = True) -> dict[str, float]:
    """Figures by name: `macro_f1`, `macro_f1_low`, `macro_f1_high`, `accuracy/region/天河区`; not the undefined."""
    found: dict[str, float | None] = {}
    for figure in figures:
        name = f"{figure.score}/{figure.slice}/{figure.value}" if figure.slice else figure.score
        found[name] = figure.estimate
        if ends and not figure.slice:
            found |= {f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {name: value for name, value in found.items() if value is not None}


def _cut(table: Any, part: Part) -> Any:
    return table if part.slice is None else table[part.index]


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


def _same_length(targets: Sequence[Target], answers: Sequence[Answer], rows: Rows) -> None:
    if not len(targets) == len(answers) == len(rows) or not len(rows):
        raise ValueError(f"{len(targets)} targets, {len(answers)} answers and {len(rows)} rows")
