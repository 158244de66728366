"""Scores of labels beside accuracy and macro-F1: the first k answers, levels of a tree, several labels, flagging.

Additive statistics (hotline.scores). Legend: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hotline import labels
from hotline.scores import Array, Score, Statistics, hits, label_of, mean
from hotline.task import Answer, Target


def top_k_accuracy(k: int) -> Score:
    """How often the right label is among the first k, the answer itself included."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        def best(answer: Answer) -> list[str]:
            return [label_of(answer.target), *(label_of(target) for target, _ in answer.alternatives[: k - 1])]

        return hits([label_of(t) in best(a) for t, a in zip(targets, answers, strict=True)])

    return Score(f"top{k}_accuracy", statistics, mean, bounded=True)


def reciprocal_rank(but: str | None = None) -> Score:
    """Mean of 1 / the place of the right label among the answer and its alternatives, 0 where it is none of them.

    Rows whose label is `but` do not count: there is nothing to find.
    """

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        def figure(truth: str, answer: Answer) -> float:
            ranked = [label_of(answer.target), *(label_of(target) for target, _ in answer.alternatives)]
            return 1 / (ranked.index(truth) + 1) if truth in ranked else 0.0

        pairs = [(label_of(t), a) for t, a in zip(targets, answers, strict=True)]
        rows = [(figure(truth, answer), 1.0) if truth != but else (0.0, 0.0) for truth, answer in pairs]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    return Score("mrr", statistics, mean, bounded=True)


def f1_of(label: str, name: str) -> Score:
    """F1 of one label against all the others; 1 where nobody said it and it was never right."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        pairs = [(label_of(t) == label, label_of(a.target) == label) for t, a in zip(targets, answers, strict=True)]
        return np.array([(true and said, said, true) for true, said in pairs], dtype=np.float64).reshape(-1, 3)

    return Score(name, statistics, f1, bounded=True)


def level_accuracy(depth: int) -> Score:
    """How often the first `depth` levels of the path are right, of the rows whose target goes that deep."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        pairs = [(label_of(t), label_of(a.target)) for t, a in zip(targets, answers, strict=True)]
        counted = [truth.count(labels.SEPARATOR) >= depth - 1 for truth, _ in pairs]
        right = [labels.level(truth, depth) == labels.level(said, depth) for truth, said in pairs]
        return np.column_stack([np.logical_and(right, counted), counted]).astype(np.float64).reshape(-1, 2)

    return Score(f"level{depth}_accuracy", statistics, mean, bounded=True)


def violation_recall(harmless: Sequence[str]) -> Score:
    """How often a row is flagged, of those whose label is not under `harmless`; with whichever violation."""
    return Score("violation_recall", _flagged(harmless, violations=True), mean, bounded=True)


def over_flagging(harmless: Sequence[str]) -> Score:
    """How often a row is flagged although its label is under `harmless`."""
    statistics = _flagged(harmless, violations=False)
    return Score("over_flagging", statistics, mean, higher_is_better=False, bounded=True)


def _flagged(harmless: Sequence[str], violations: bool) -> Statistics:
    """Per row: whether it is one that counts and is flagged, and whether it counts."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        counted = [labels.lies_under(label_of(target), harmless) != violations for target in targets]
        flagged = [not labels.lies_under(label_of(answer.target), harmless) for answer in answers]
        return np.column_stack([np.logical_and(flagged, counted), counted]).astype(np.float64).reshape(-1, 2)

    return statistics


def _shared_levels(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    """Per row: levels in common from the root, levels of the answer, of the target."""
    rows = []
    for target, answer in zip(targets, answers, strict=True):
        truth, said = label_of(target).split(labels.SEPARATOR), label_of(answer.target).split(labels.SEPARATOR)
        pairs = zip(truth, said, strict=False)
        common = next((depth for depth, (a, b) in enumerate(pairs) if a != b), min(len(truth), len(said)))
        rows.append((common, len(said), len(truth)))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def f1(sums: Array) -> Array:
    """Sums of (right, said, true) → F1; 1 where nothing was said and nothing was true."""
    both = sums[:, 1] + sums[:, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(both > 0, 2 * sums[:, 0] / both, 1.0))


def _label_counts(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    """Per row: labels that were rightly said, said, true."""
    pairs = [(_labels(target), _labels(answer.target)) for target, answer in zip(targets, answers, strict=True)]
    return np.array([(len(a & b), len(b), len(a)) for a, b in pairs], dtype=np.float64).reshape(-1, 3)


def _labels(target: Any) -> frozenset[str]:
    """Every label of a target with several (`labels`), or its only one (`label`)."""
    several = getattr(target, "labels", None)
    return frozenset([target.label] if several is None else several)


micro_f1 = Score("micro_f1", _label_counts, f1, bounded=True)
"""F1 over all decisions, as scikit-learn's `f1_score(average="micro")`; for one label per row it is the accuracy."""
hierarchical_f1 = Score("hierarchical_f1", _shared_levels, f1, bounded=True)
"""F1 over the levels of a path (Kiritchenko et al. 2006): a wrong leaf under the right branch is partly right."""
level1_accuracy, level2_accuracy, level3_accuracy = level_accuracy(1), level_accuracy(2), level_accuracy(3)
top3_accuracy, top5_accuracy = top_k_accuracy(3), top_k_accuracy(5)
