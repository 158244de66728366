"""Scores of written texts, as additive statistics (hotline.scores).

Both sides are first written as `hotline.text.SCORED` says, so that script, width, case, marks and blanks do not count.
An empty text is a refusal. Legend: n rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hotline.label_scores import f1
from hotline.scored_texts import scored_all
from hotline.scores import Array, Score, mean
from hotline.spoken_scores import words
from hotline.task import Answer, Target
from hotline.text import scored

CHRF_ORDER, CHRF_BETA = 6, 2.0
"""Longest character n-gram, and how much more recall counts than precision (Popović 2015)."""


def rouge_l_of(reference: str, said: str) -> float:
    """F1 of the longest common subsequence of characters (Lin 2004), in [0, 1]; two empty texts are the same."""
    from rapidfuzz.distance import LCSseq

    a, b = scored(reference), scored(said)
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b)) if a or b else 1.0


def token_f1_of(reference: str, said: str) -> float:
    """F1 of the bags of units: every Chinese character by itself, Latin words and numbers whole (SQuAD, CMRC)."""
    a, b = Counter(words(reference)), Counter(words(said))
    if not a or not b:
        return float(a == b)
    return 2 * (a & b).total() / (a.total() + b.total())


def exact_of(reference: str, said: str) -> float:
    """1 where nothing differs but script, width, case, marks and blanks."""
    return float(scored(reference) == scored(said))


def _texts(targets: Sequence[Target], answers: Sequence[Answer]) -> list[tuple[str, str]]:
    references: Sequence[Any] = targets
    written: Sequence[Any] = [answer.target for answer in answers]
    return [(reference.text, said.text) for reference, said in zip(references, written, strict=True)]


def _mean_of(figure: Callable[[str, str], float]) -> Callable[[Sequence[Target], Sequence[Answer]], Array]:
    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        return np.array([(figure(a, b), 1.0) for a, b in _texts(targets, answers)], dtype=np.float64).reshape(-1, 2)

    return statistics


def _ngram_counts(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    """Per row and order: n-grams in common, of the answer, of the reference; (n, 3 orders)."""
    references, said = zip(*_texts(targets, answers), strict=True)
    pairs = zip(scored_all(references), scored_all(said), strict=True)
    return np.array([_ngrams(a, b) for a, b in pairs], dtype=np.float64)


def _ngrams(reference: str, said: str) -> list[int]:
    """As sacrebleu counts them: an answer's n-grams that are longer than the reference do not count against it."""
    counts: list[int] = []
    for order in range(1, CHRF_ORDER + 1):
        a, b = (Counter(text[at : at + order] for at in range(len(text) - order + 1)) for text in (reference, said))
        counts += [(a & b).total(), b.total() if a else 0, a.total()]
    return counts


def _chrf(sums: Array) -> Array:
    """F-beta of the mean precision and the mean recall over the orders that both sides have: sacrebleu's, in [0, 1]."""
    common, said, reference = (sums[:, part::3] for part in range(3))
    both = (said > 0) & (reference > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = (
            np.where(both, common / counts, 0.0).sum(axis=1) / both.sum(axis=1) for counts in (said, reference)
        )
        f = (1 + CHRF_BETA**2) * precision * recall / (CHRF_BETA**2 * precision + recall)
    return np.asarray(np.where(common.sum(axis=1) > 0, f, np.where(reference.sum(axis=1) > 0, 0.0, np.nan)))


def _refusals(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    """Per row: refused rightly, refused, to be refused, and a one."""
    pairs = [(not a.strip(), not b.strip()) for a, b in _texts(targets, answers)]
    return np.array([(a and b, b, a, 1) for a, b in pairs], dtype=np.float64).reshape(-1, 4)


def _must_refuse_recall(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 2])


def _over_refusal(sums: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((sums[:, 1] - sums[:, 0]) / (sums[:, 3] - sums[:, 2]))


rouge_l = Score("rouge_l", _mean_of(rouge_l_of), mean, bounded=True)
token_f1 = Score("token_f1", _mean_of(token_f1_of), mean, bounded=True)
exact_match = Score("exact_match", _mean_of(exact_of), mean, bounded=True)
chrf = Score("chrf", _ngram_counts, _chrf, bounded=True)
refusal_f1 = Score("refusal_f1", _refusals, f1, bounded=True)
"""F1 of refusing; 1 where nothing was refused and nothing was to be."""
must_refuse_recall = Score("must_refuse_recall", _refusals, _must_refuse_recall, bounded=True)
"""How much was refused of what must be; NaN where nothing must be."""
over_refusal = Score("over_refusal", _refusals, _over_refusal, higher_is_better=False, bounded=True)
"""How much was refused of what should have been answered; NaN where everything must be refused."""
