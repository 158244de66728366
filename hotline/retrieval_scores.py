"""Scores of what was found and what was cited, as additive statistics (hotline.scores).

A reference names what is relevant, or what supports the answer; an answer lists what was found, best first, or cited.
Both are texts in a field of the target, such as the ids of articles. Legend: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hotline.label_scores import f1
from hotline.scores import Array, Score, mean
from hotline.task import Answer, Target

Names = tuple[str, ...]


def _names(field: str, targets: Sequence[Target], answers: Sequence[Answer]) -> Iterator[tuple[frozenset[str], Names]]:
    """What is relevant, and what was named, each once and in order."""
    for target, answer in zip(targets, answers, strict=True):
        yield frozenset(getattr(target, field)), tuple(dict.fromkeys(getattr(answer.target, field)))


def _over_queries(figure: Callable[[frozenset[str], Names], float], field: str) -> Callable[..., Array]:
    """The mean over rows that have something to find."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        rows = [
            (figure(relevant, found), 1.0) if relevant else (0.0, 0.0)
            for relevant, found in _names(field, targets, answers)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    return statistics


def recall_at(k: int, field: str = "documents") -> Score:
    """The share of what is relevant among the first k, in the mean over the rows with something to find."""

    def figure(relevant: frozenset[str], found: Names) -> float:
        return len(relevant & set(found[:k])) / len(relevant)

    return Score(f"recall_at_{k}", _over_queries(figure, field), mean, bounded=True)


def mrr(field: str = "documents", k: int | None = None) -> Score:
    """Mean reciprocal rank of the first relevant one (Voorhees 1999), 0 where none is among the first k."""

    def figure(relevant: frozenset[str], found: Names) -> float:
        return next((1 / rank for rank, name in enumerate(found[:k], 1) if name in relevant), 0.0)

    return Score("mrr" if k is None else f"mrr_at_{k}", _over_queries(figure, field), mean, bounded=True)


def _cited(field: str) -> Callable[..., Array]:
    """Per row: cited rightly, cited, to be cited."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        rows = [
            (len(relevant & set(named)), len(named), len(relevant))
            for relevant, named in _names(field, targets, answers)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    return statistics


def _share(of: int) -> Callable[[Array], Array]:
    """Right among column `of`: 0 where that is nothing, but 1 where the other is nothing as well."""

    def finish(sums: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            share = sums[:, 0] / sums[:, of]
        return np.asarray(np.where(sums[:, of] > 0, share, sums[:, 3 - of] == 0).astype(np.float64))

    return finish


def citation_precision(field: str = "citations") -> Score:
    """How many citations support the answer, of all that were made."""
    return Score("citation_precision", _cited(field), _share(1), bounded=True)


def citation_recall(field: str = "citations") -> Score:
    """How many of the sources to be cited were."""
    return Score("citation_recall", _cited(field), _share(2), bounded=True)


def citation_f1(field: str = "citations") -> Score:
    """The harmonic mean of both."""
    return Score("citation_f1", _cited(field), f1, bounded=True)
