"""Tables that `dvc plots` draws: figures per slice with intervals, reliability, and confusion for labelled tasks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hotline.records import Figure
from hotline.task import Answer, Target, Task

FOLDER = "plots"
BINS = 10
SHOWN_LABELS = 25
"""A confusion over more labels than this shows their first level."""
OVERALL = "all"


def write(
    place: Path, task: Task, targets: Sequence[Target], answers: Sequence[Answer], figures: Sequence[Figure]
) -> None:
    """slices.csv, reliability.csv and confusion.csv under `place`/plots; a task without labels has the first alone.

    The other two are there for it as well, without rows, because a pipeline's outputs are the same for every task.
    """
    folder = place / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    labelled = "label" in task.target.model_fields
    pairs = list(zip(targets, answers, strict=True)) if labelled else []
    _table(folder / "slices.csv", ("score", "slice", "estimate", "low", "high", "rows"), _slices(task, figures))
    _table(folder / "reliability.csv", ("confidence", "share_right", "rows"), _reliability(pairs))
    _table(folder / "confusion.csv", ("actual", "predicted"), _confusion(pairs))


def _slices(task: Task, figures: Iterable[Figure]) -> list[tuple[object, ...]]:
    """The task's first score, over all rows and by every value of every slice; undefined figures are left out."""
    first = next(iter(task.scores))
    return [
        (f.score, f"{f.slice}={f.value}" if f.slice else OVERALL, f.estimate, f.low, f.high, f.rows)
        for f in figures
        if f.score == first and None not in (f.estimate, f.low, f.high)
    ]


def _reliability(pairs: Sequence[tuple[Target, Answer]]) -> list[tuple[object, ...]]:
    """Mean confidence and share of right answers in equal bins of confidence (Guo et al. 2017), empty bins left out."""
    if not pairs:
        return []
    confidence = np.array([answer.confidence for _, answer in pairs])
    right = np.array([_label(target) == _label(answer.target) for target, answer in pairs])
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = [number == each for each in range(BINS)]
    return [(float(confidence[one].mean()), float(right[one].mean()), int(one.sum())) for one in found if one.any()]


def _confusion(pairs: Sequence[tuple[Target, Answer]]) -> list[tuple[object, ...]]:
    """A line per row: its label, and the one it was given."""
    named = [(_label(target), _label(answer.target)) for target, answer in pairs]
    if len({label for pair in named for label in pair}) > SHOWN_LABELS:
        named = [(actual.split("/")[0], predicted.split("/")[0]) for actual, predicted in named]
    return [*named]


def _label(target: Target) -> str:
    return str(getattr(target, "label"))  # noqa: B009 - only asked of targets with one


def _table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
