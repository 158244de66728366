"""Scores as additive statistics: what one row contributes, and how sums of contributions become the figure.

Because contributions add up, a figure over any slice or any bootstrap resample is one matrix product, for every
score alike. Legend: n rows, k statistics, r resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hotline.task import Answer, Target

Array = npt.NDArray[np.float64]
Statistics = Callable[[Sequence[Target], Sequence[Answer]], Any]


@dataclass(frozen=True)
class Score:
    """A figure over rows.

    `statistics` gives an (n, k) array or scipy.sparse matrix; `finish` turns (r, k) sums into r figures, NaN where
    the figure is undefined.
    """

    name: str
    statistics: Statistics
    finish: Callable[[Array], Array]
    higher_is_better: bool = True
    bounded: bool = False
    """The figure lies in [0, 1], whatever the rows: a share, or a mean of shares."""
    error_rate: bool = False
    """Errors per unit of a reference: 0 is perfect, and a row that is wholly wrong counts about 1."""
    timed: bool = False
    """It says what answers cost, not whether they are right: rows are answered one at a time and measured."""

    def __call__(self, targets: Sequence[Target], answers: Sequence[Answer]) -> float:
        """The figure over all rows. Raises ValueError when the two lengths differ or there are no rows."""
        from scipy import sparse  # 0.2 s of import that declaring a task does not need

        if len(targets) != len(answers) or not targets:
            raise ValueError(f"{self.name}: {len(targets)} targets and {len(answers)} answers")
        sums = np.asarray(sparse.csr_array(self.statistics(targets, answers)).sum(axis=0), dtype=np.float64)
        return float(self.finish(sums.reshape(1, -1))[0])


def label_of(target: Target) -> str:
    """The label of a labelled task's target."""
    return str(getattr(target, "label"))  # noqa: B009 - every target of a labelled task has one


def mean(sums: Array) -> Array:
    """Sums of (what is counted, rows) → the mean, NaN without rows."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def hits(right: Sequence[bool]) -> Array:
    """Per row: whether it is right, and a one."""
    return np.column_stack([np.asarray(right, dtype=np.float64), np.ones(len(right))])


def _accuracy(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    return hits([label_of(t) == label_of(a.target) for t, a in zip(targets, answers, strict=True)])


def _confusion_counts(targets: Sequence[Target], answers: Sequence[Answer]) -> Any:
    """Per row, ones in the columns (class as target), (class as answer) and (class as both): sparse (n, 3 classes)."""
    from scipy import sparse

    truth, said = [label_of(t) for t in targets], [label_of(a.target) for a in answers]
    names, codes = np.unique(np.asarray(truth + said, dtype=object).astype(str), return_inverse=True)
    true_n, said_n = codes[: len(truth)], codes[len(truth) :]
    rows, classes = np.arange(len(truth)), len(names)
    hit = true_n == said_n
    row = np.concatenate([rows, rows, rows[hit]])
    column = np.concatenate([true_n, classes + said_n, 2 * classes + true_n[hit]])
    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=(len(truth), 3 * classes))


def _macro_f1(sums: Array) -> Array:
    """Mean F1 over the classes that occur as target or answer, as scikit-learn's `f1_score(average="macro")`."""
    truth, said, hit = np.split(sums, 3, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * hit / (truth + said)
    present = (truth + said) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(present, f1, 0.0).sum(axis=1) / present.sum(axis=1))


ECE_BINS = 15


def _ece_bins(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    """Per row, in the bin of its confidence: (hit − confidence), and a one for the count."""
    confidence = np.array([answer.confidence for answer in answers])
    hit = np.array([label_of(t) == label_of(a.target) for t, a in zip(targets, answers, strict=True)], dtype=np.float64)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    table = np.zeros((len(answers), ECE_BINS + 1))
    table[np.arange(len(answers)), bins] = hit - confidence
    table[:, ECE_BINS] = 1
    return table


def _ece(sums: Array) -> Array:
    """Expected calibration error, 15 equal bins (Guo et al. 2017, On Calibration of Modern Neural Networks)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs(sums[:, :ECE_BINS]).sum(axis=1) / sums[:, ECE_BINS])


accuracy = Score("accuracy", _accuracy, mean, bounded=True)
macro_f1 = Score("macro_f1", _confusion_counts, _macro_f1, bounded=True)
ece = Score("ece", _ece_bins, _ece, higher_is_better=False, bounded=True)
