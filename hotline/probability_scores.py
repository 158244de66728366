"""Scores of probabilities: are they right as often as they say, and do they rank? Additive statistics (hotline.scores).

AUC compares every positive row with every negative one, which is no sum over rows. So rows are counted in fine bins of
the log-odds, and pairs within a bin count half. Legend: n rows, b bins, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hotline.scores import ECE_BINS, Array, Score, label_of, mean
from hotline.task import Answer, Target

AUC_BINS, AUC_REACH = 1024, 16.0
"""Bins of equal width in log-odds from −16 to 16 (probabilities of 1e-7 to 1 − 1e-7): odds 3 % apart share one."""


def _right(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    return np.array([label_of(t) == label_of(a.target) for t, a in zip(targets, answers, strict=True)], np.float64)


def _confidence(answers: Sequence[Answer]) -> Array:
    return np.array([answer.confidence for answer in answers], dtype=np.float64)


def _squared_errors(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    right = _right(targets, answers)
    return np.column_stack([(_confidence(answers) - right) ** 2, np.ones(len(right))])


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers whose confidence lies in [low, high): how sure they were in the mean, and how often right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


def reliability(targets: Sequence[Target], answers: Sequence[Answer], bins: int = ECE_BINS) -> list[ReliabilityBin]:
    """The data of a reliability plot: equal bins of confidence that hold an answer, in order; 1 is in the last.

    With the default bins, ECE is the mean of |accuracy − confidence| weighted by `rows`.
    Raises ValueError when targets and answers differ in number.
    """
    right, sure = _right(targets, answers), _confidence(answers)
    place = np.minimum((sure * bins).astype(int), bins - 1)
    found = [(number, place == number) for number in np.unique(place)]
    return [
        ReliabilityBin(
            int(n) / bins, (int(n) + 1) / bins, int(own.sum()), float(sure[own].mean()), float(right[own].mean())
        )
        for n, own in found
    ]


def bin_of(probability: Any) -> Any:
    """The bin of log-odds, 0 to AUC_BINS − 1, of each probability."""
    with np.errstate(divide="ignore"):
        odds = np.log(probability) - np.log1p(-np.asarray(probability, dtype=np.float64))
    share = (np.clip(odds, -AUC_REACH, AUC_REACH) + AUC_REACH) / (2 * AUC_REACH)
    return np.minimum((share * AUC_BINS).astype(int), AUC_BINS - 1)


def probability_of(answer: Answer, label: str) -> float:
    """What the answer gives a label: as the answer, among the alternatives, or nothing."""
    if label_of(answer.target) == label:
        return answer.confidence
    return next((share for target, share in answer.alternatives if label_of(target) == label), 0.0)


def areas(positive: Array, negative: Array) -> Array:
    """(…, b) counts of both by ascending bin → the share of pairs with the positive higher; NaN without pairs."""
    below = negative.cumsum(axis=-1) - negative
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = (positive * (below + negative / 2)).sum(axis=-1)
        return np.asarray(wins / (positive.sum(axis=-1) * negative.sum(axis=-1)))


def auc(positive: str) -> Score:
    """Area under the ROC curve: how often a row of that label gets a higher probability of it than another row does.

    It differs from the exact area by at most half the share of pairs that fall in one bin, see `auc_error`.
    """

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Any:
        from scipy import sparse

        true = np.array([label_of(target) == positive for target in targets])
        places = bin_of(np.array([probability_of(answer, positive) for answer in answers]))
        cells = (np.ones(len(true)), (np.arange(len(true)), places + AUC_BINS * ~true))
        return sparse.csr_array(cells, shape=(len(true), 2 * AUC_BINS))

    return Score("auc", statistics, lambda sums: areas(*np.split(sums, 2, axis=1)), bounded=True)


def auc_error(sums: Array) -> Array:
    """The largest difference from the exact area: half the share of pairs that one bin holds. `sums` as of `auc`."""
    positive, negative = np.split(sums, 2, axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positive * negative).sum(axis=1) / pairs / 2)


def macro_auc(classes: Sequence[str]) -> Score:
    """Mean of the areas of each class against the rest, of the classes that have rows and others to compare with.

    As scikit-learn's `roc_auc_score(multi_class="ovr", average="macro")`, within the error of `auc`.
    """
    each = [auc(name) for name in classes]

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Any:
        from scipy import sparse

        return sparse.hstack([score.statistics(targets, answers) for score in each], format="csr")

    def finish(sums: Array) -> Array:
        found = np.column_stack([score.finish(part) for score, part in zip(each, _parts(sums), strict=True)])
        defined = np.isfinite(found)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(defined, found, 0).sum(axis=1) / defined.sum(axis=1))

    def _parts(sums: Array) -> list[Array]:
        return np.split(sums, len(each), axis=1)

    return Score("macro_auc", statistics, finish, bounded=True)


brier = Score("brier", _squared_errors, mean, higher_is_better=False, bounded=True)
"""Mean squared difference of confidence and being right (Brier 1950), as scikit-learn's `brier_score_loss` of being
right; with two labels it is the Brier score of either."""
