"""Alignments of what two systems said, cut where both are right: the segments that MAPSSWE counts errors in.

Errors on both sides of two units that both systems have right are taken to be independent (Gillick and Cox 1989).
Legend: m units of one reference.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hotline.spoken_scores import words_all
from hotline.task import Answer, Target

BOUND = 2
"""Units that both systems have right between two segments, as in NIST's sc_stats."""


@dataclass(frozen=True)
class Alignment:
    """Of one hypothesis with its reference of m units."""

    wrong: tuple[bool, ...]
    """(m,): the unit was left out or another was said instead."""
    inserted: tuple[int, ...]
    """(m + 1,): units said before each unit of the reference, and behind the last."""

    @property
    def errors(self) -> int:
        return sum(self.wrong) + sum(self.inserted)

    @classmethod
    def of_marks(cls, marks: str) -> Alignment:
        """From a mark per step, as sclite writes them: C correct, S substituted, D deleted, I inserted.

        Raises ValueError for another mark.
        """
        if unknown := set(marks) - set("CSDI"):
            raise ValueError(f"not marks of an alignment: {sorted(unknown)}")
        gaps = marks.replace("S", "C").replace("D", "C").split("C")
        return cls(tuple(mark != "C" for mark in marks if mark != "I"), tuple(len(gap) for gap in gaps))


def align(reference: Sequence[Hashable], said: Sequence[Hashable]) -> Alignment:
    """A shortest alignment, the one that error rates are counted in."""
    from rapidfuzz.distance import Levenshtein

    wrong, inserted = [False] * len(reference), [0] * (len(reference) + 1)
    for edit in Levenshtein.editops(reference, said):
        if edit.tag == "insert":
            inserted[edit.src_pos] += 1
        else:
            wrong[edit.src_pos] = True
    return Alignment(tuple(wrong), tuple(inserted))


def segment_errors(a: Alignment, b: Alignment, bound: int = BOUND) -> list[tuple[int, int]]:
    """Errors of both systems per segment of one reference; none where both are right throughout.

    Raises ValueError for alignments with references of different lengths.
    """
    if len(a.wrong) != len(b.wrong):
        raise ValueError(f"references of {len(a.wrong)} and {len(b.wrong)} units")
    segments: list[tuple[int, int]] = []
    right = bound
    for errors in _places(a, b):
        if errors is None:
            right += 1
            continue
        if right >= bound:
            segments.append((0, 0))
        segments[-1] = segments[-1][0] + errors[0], segments[-1][1] + errors[1]
        right = 0
    return segments


def _places(a: Alignment, b: Alignment) -> Iterator[tuple[int, int] | None]:
    """Errors at every place of the reference, in order; None for a unit that both have right."""
    for at in range(len(a.inserted)):
        if a.inserted[at] or b.inserted[at]:
            yield a.inserted[at], b.inserted[at]
        if at < len(a.wrong):
            yield (int(a.wrong[at]), int(b.wrong[at])) if a.wrong[at] or b.wrong[at] else None


def paired_errors(
    targets: Sequence[Target], a_answers: Sequence[Answer], b_answers: Sequence[Answer]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Errors of both systems per segment over all rows, in the units of MER: what `significance.mapsswe` takes.

    Raises ValueError when the three differ in number.
    """
    said: Sequence[Sequence[Any]] = [targets, *([answer.target for answer in each] for each in (a_answers, b_answers))]
    rows = zip(*(words_all([row.text for row in each]) for each in said), strict=True)
    segments = [pair for reference, a, b in rows for pair in segment_errors(align(reference, a), align(reference, b))]
    table = np.array(segments, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
