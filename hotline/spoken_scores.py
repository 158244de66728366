"""Scores of transcripts: errors of a shortest alignment with the reference, as additive statistics (hotline.scores).

Both sides are first written as `hotline.text.SCORED` says: script-neutral, lower case, no punctuation, no blanks,
numbers read out. A reference that is empty counts what was said as insertions. Legend: n rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from hotline.scored_texts import scored_all, scored_words_all
from hotline.scores import Array, Score, mean
from hotline.task import Answer, Target
from hotline.text import scored_words

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
"""Characters of Chinese and Japanese, which stand without blanks between words."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_WITHOUT_BLANKS = re.compile(f"[{_UNSPACED}]")
Texts = tuple[str, ...]
Table = Callable[[Texts, Texts], Array]


def texts(targets: Sequence[Target], answers: Sequence[Answer]) -> tuple[Texts, Texts]:
    """References, and what was said. Raises ValueError when they differ in number."""
    if len(targets) != len(answers):
        raise ValueError(f"{len(targets)} targets and {len(answers)} answers")
    spoken: Sequence[Any] = [answer.target for answer in answers]
    references: Sequence[Any] = targets
    return tuple(target.text for target in references), tuple(target.text for target in spoken)


def words(text: str) -> list[str]:
    """The units of a mixed text: every Chinese character by itself, Latin words and numbers whole."""
    return _WORD.findall(scored_words(text))


def words_all(texts: Sequence[str]) -> list[list[str]]:
    """`[words(text) for text in texts]`, faster."""
    return [_WORD.findall(text) for text in scored_words_all(texts)]


def _edits(reference: Sequence[Hashable], said: Sequence[Hashable]) -> tuple[int, int, int, int]:
    """Substitutions, deletions, insertions of a shortest alignment, and units of the reference."""
    if reference == said:
        return 0, 0, 0, len(reference)
    from rapidfuzz.distance import Levenshtein

    kinds = [edit.tag for edit in Levenshtein.editops(reference, said)]
    replaced, deleted = kinds.count("replace"), kinds.count("delete")
    return replaced, deleted, len(kinds) - replaced - deleted, len(reference)


@lru_cache(maxsize=4)
def _characters(references: Texts, said: Texts) -> Array:
    """(n, 4), read-only: one alignment per row serves every score over the same texts."""
    return frozen([_edits(*row) for row in zip(scored_all(references), scored_all(said), strict=True)], 4)


@lru_cache(maxsize=4)
def _units(references: Texts, said: Texts) -> Array:
    return frozen([_edits(*row) for row in zip(words_all(references), words_all(said), strict=True)], 4)


@lru_cache(maxsize=4)
def _words(references: Texts, said: Texts) -> Array:
    """Nothing for references in Chinese: a word of theirs ends where the writer happened to pause."""
    pairs = zip(scored_words_all(references), scored_words_all(said), strict=True)
    spaced = [(0, 0, 0, 0) if _WITHOUT_BLANKS.search(a) else _edits(a.split(), b.split()) for a, b in pairs]
    return frozen(spaced, 4)


def frozen(rows: Sequence[Sequence[float]], width: int) -> Array:
    """(n, width), read-only: it may be kept and shared."""
    table = np.array(rows, dtype=np.float64).reshape(-1, width)
    table.setflags(write=False)
    return table


def _edit_counts(table: Table, targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    return table(*texts(targets, answers))


def _utterance_edits(table: Table, targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    counts = _edit_counts(table, targets, answers)
    return np.column_stack([counts[:, :3].sum(axis=1) / np.maximum(counts[:, 3], 1), np.ones(len(counts))])


def _share_of_reference(*columns: int) -> Callable[[Array], Array]:
    def share(sums: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums[:, columns].sum(axis=1) / sums[:, 3])

    return share


def _rate(name: str, table: Table, *columns: int) -> Score:
    """Errors of these kinds per unit of the reference: none is 0, and insertions can take it past 1."""
    statistics, finish = partial(_edit_counts, table), _share_of_reference(*columns)
    return Score(name, statistics, finish, higher_is_better=False, bounded=2 not in columns, error_rate=True)


cer = _rate("cer", _characters, 0, 1, 2)
substitutions = _rate("substitutions", _characters, 0)
deletions = _rate("deletions", _characters, 1)
insertions = _rate("insertions", _characters, 2)
mer = _rate("mer", _units, 0, 1, 2)
mer_substitutions = _rate("mer_substitutions", _units, 0)
mer_deletions = _rate("mer_deletions", _units, 1)
mer_insertions = _rate("mer_insertions", _units, 2)
wer = _rate("wer", _words, 0, 1, 2)
wer_substitutions = _rate("wer_substitutions", _words, 0)
wer_deletions = _rate("wer_deletions", _words, 1)
wer_insertions = _rate("wer_insertions", _words, 2)
utterance_cer = Score("utterance_cer", partial(_utterance_edits, _characters), mean, False, error_rate=True)
utterance_mer = Score("utterance_mer", partial(_utterance_edits, _units), mean, False, error_rate=True)
