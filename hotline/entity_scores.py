"""Errors inside names and numbers of transcripts, together and kind by kind, as additive statistics (hotline.scores).

A wrong digit of a house number costs more than a wrong particle; the error rate of the whole text hides it.
Legend: n rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from hotline.scored_texts import scored_all
from hotline.scores import Array, Score, mean
from hotline.spoken_scores import Texts, frozen, texts
from hotline.task import Answer, Target

KINDS = ("place", "name", "department", "number")
"""What a hotline acts on: addresses, people and companies, offices, and phone, house and ticket numbers."""
Spans = tuple[tuple[int, int, str], ...]
"""Start, end and kind, in characters of the reference."""


@lru_cache(maxsize=4)
def _tables(references: Texts, said: Texts, entities: tuple[Spans, ...]) -> Mapping[str | None, Array]:
    """By kind, and over all kinds under None: errors and characters of each row, (n, 2)."""
    kinds: set[str | None] = {None, *(kind for spans in entities for _, _, kind in spans)}
    counts = {kind: [(0, 0)] * len(references) for kind in kinds}
    marked = [row for row, spans in enumerate(entities) if spans]
    whole, heard = scored_all([references[row] for row in marked]), scored_all([said[row] for row in marked])
    # the text around a span keeps its reading (年 after 2026), the span by itself would not
    around = [text for row in marked for span in entities[row] for text in _around(references[row], span)]
    lengths = iter([len(text) for text in scored_all(around)])
    for row, reference, answer in zip(marked, whole, heard, strict=True):
        places = [(next(lengths), len(reference) - next(lengths), kind) for _, _, kind in entities[row]]
        for kind in kinds:
            inside = [(first, last) for first, last, own in places if kind in (None, own)]
            counts[kind][row] = _errors(reference, answer, inside) if inside else (0, 0)
    return {kind: frozen(rows, 2) for kind, rows in counts.items()}


def _around(reference: str, span: tuple[int, int, str]) -> tuple[str, str]:
    return reference[: span[0]], reference[span[1] :]


def _errors(reference: str, said: str, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Errors inside the spans of the reference by a shortest alignment, and characters in them.

    What is inserted counts where characters of one span lie on both sides of it.
    """
    from rapidfuzz.distance import Levenshtein

    inside = np.zeros(len(reference) + 1, dtype=np.int64)
    for number, (first, last) in enumerate(spans, 1):
        inside[max(first, 0) : max(last, 0)] = number
    errors = 0
    for edit in Levenshtein.editops(reference, said):
        here = inside[edit.src_pos]
        before = inside[edit.src_pos - 1] if edit.src_pos else 0
        errors += int(here > 0 and (edit.tag != "insert" or here == before))
    return errors, int((inside > 0).sum())


def entity_cer_of(kind: str | None) -> Score:
    """The error rate of characters inside entities of one kind, or of every kind; NaN where no row names any."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        marked: Sequence[Any] = targets
        spans = tuple(tuple((each.start, each.end, each.kind) for each in target.entities) for target in marked)
        tables = _tables(*texts(targets, answers), spans)
        return tables[kind] if kind in tables else np.zeros((len(targets), 2))

    name = "entity_cer" if kind is None else f"entity_cer_{kind}"
    return Score(name, statistics, mean, higher_is_better=False, error_rate=True)


entity_cer = entity_cer_of(None)
BY_KIND: Mapping[str, Score] = {f"entity_cer_{kind}": entity_cer_of(kind) for kind in KINDS}
"""For a task's `scores`."""
