"""Scores of transcripts: errors of a shortest alignment with the reference, as additive statistics (hotline.scores).

Both sides are first written as `hotline.text.SCORED` says: script-neutral, lower case, no punctuation, no blanks,
numbers read out. A reference that is empty counts what was said as insertions. Legend: n rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from hotline.scored_texts import scored_all
from hotline.scores import Array, Score, mean
from hotline.task import Answer, Target
from hotline.text import scored, scored_words

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]|[^\s\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]+"
)
Texts = tuple[str, ...]


def _texts(targets: Sequence[Target], answers: Sequence[Answer]) -> tuple[Texts, Texts]:
    """References, and what was said."""
    if len(targets) != len(answers):
        raise ValueError(f"{len(targets)} targets and {len(answers)} answers")
    spoken: Sequence[Any] = [answer.target for answer in answers]
    references: Sequence[Any] = targets
    return tuple(target.text for target in references), tuple(target.text for target in spoken)


def _edits(reference: Sequence[Hashable], said: Sequence[Hashable]) -> tuple[int, int, int, int]:
    """Substitutions, deletions, insertions of a shortest alignment, and units of the reference."""
    if reference == said:
        return 0, 0, 0, len(reference)
    from rapidfuzz.distance import Levenshtein

    kinds = [edit.tag for edit in Levenshtein.editops(reference, said)]
    replaced, deleted = kinds.count("replace"), kinds.count("delete")
    return replaced, deleted, len(kinds) - replaced - deleted, len(reference)


@lru_cache(maxsize=4)
def _character_table(references: Texts, said: Texts) -> Array:
    """(n, 4), read-only: one alignment per row serves every score over the same texts."""
    rows = [_edits(a, b) for a, b in zip(scored_all(references), scored_all(said), strict=True)]
    return _frozen(rows, 4)


@lru_cache(maxsize=4)
def _word_table(references: Texts, said: Texts) -> Array:
    rows = [_edits(words(a), words(b)) for a, b in zip(references, said, strict=True)]
    return _frozen(rows, 4)


@lru_cache(maxsize=4)
def _entity_table(references: Texts, said: Texts, entities: tuple[tuple[tuple[int, int], ...], ...]) -> Array:
    rows = [_entity_edits(*row) if row[2] else (0, 0) for row in zip(references, said, entities, strict=True)]
    return _frozen(rows, 2)


def _frozen(rows: Sequence[Sequence[float]], width: int) -> Array:
    table = np.array(rows, dtype=np.float64).reshape(-1, width)
    table.setflags(write=False)
    return table


def words(text: str) -> list[str]:
    """The units of a mixed text: every Chinese character by itself, Latin words and numbers whole."""
    return _WORD.findall(scored_words(text))


def _entity_edits(reference: str, said: str, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Errors inside the spans of the reference by a shortest alignment, and characters in them.

    What is inserted counts where characters of one span lie on both sides of it.
    """
    from rapidfuzz.distance import Levenshtein

    whole = scored(reference)
    inside = np.zeros(len(whole) + 1, dtype=np.int64)
    for number, (start, end) in enumerate(spans, 1):
        # the text around a span keeps its reading (年 after 2026), the span by itself would not
        first, last = len(scored(reference[:start])), len(whole) - len(scored(reference[end:]))
        inside[max(first, 0) : max(last, 0)] = number
    errors = 0
    for edit in Levenshtein.editops(whole, scored(said)):
        here = inside[edit.src_pos]
        before = inside[edit.src_pos - 1] if edit.src_pos else 0
        errors += int(here > 0 and (edit.tag != "insert" or here == before))
    return errors, int((inside > 0).sum())


def _character_edits(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    return _character_table(*_texts(targets, answers))


def _word_edits(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    return _word_table(*_texts(targets, answers))


def _utterance_edits(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    counts = _character_edits(targets, answers)
    return np.column_stack([counts[:, :3].sum(axis=1) / np.maximum(counts[:, 3], 1), np.ones(len(counts))])


def _entity_errors(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    marked: Sequence[Any] = targets
    spans = tuple(tuple((entity.start, entity.end) for entity in target.entities) for target in marked)
    return _entity_table(*_texts(targets, answers), spans)


def _share_of_reference(*columns: int) -> Callable[[Array], Array]:
    def share(sums: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[:, columns].sum(axis=1) / sums[:, 3])

    return share


def _errors(name: str, statistics: Callable[..., Array], finish: Callable[[Array], Array]) -> Score:
    """An error rate: none is 0, and insertions can take it past 1."""
    return Score(name, statistics, finish, higher_is_better=False, error_rate=True)


def _part(name: str, column: int) -> Score:
    """A kind of error per character of the reference."""
    return Score(
        name, _character_edits, _share_of_reference(column), False, bounded=name != "insertions", error_rate=True
    )


cer = _errors("cer", _character_edits, _share_of_reference(0, 1, 2))
utterance_cer = _errors("utterance_cer", _utterance_edits, mean)
mer = _errors("mer", _word_edits, _share_of_reference(0, 1, 2))
entity_cer = _errors("entity_cer", _entity_errors, mean)
substitutions, deletions, insertions = _part("substitutions", 0), _part("deletions", 1), _part("insertions", 2)
