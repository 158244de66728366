"""What a caller may wish for beside the input, and what a version is able to do of it.

Neither is part of a task's declaration: a version that is able to do less answers the same task.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_UNIT = re.compile(r"[^\W\d_\u2e80-\uffff]+(?:['’][^\W\d_\u2e80-\uffff]+)*|\d+|\S")
_WORD = re.compile(r"\w")


class Wish(BaseModel):
    """Beside the input of one call. The default wishes for nothing: the answer is the one that was judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: bool = False
    """The times of words, beside the answer."""
    tokens: bool = False
    """The model's own pieces of the text with their probabilities."""
    hotwords: tuple[str, ...] = ()
    """Words that the caller expects to be said."""
    options: tuple[str, ...] = ()
    """Paths of the label tree, leaves or whole branches: the answer is one of them."""

    vector: bool = False
    """The vector that the input is compared by."""

    def __bool__(self) -> bool:
        return self != NOTHING


NOTHING = Wish()


class Abilities(BaseModel):
    """What a version is able to do beside answering."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: bool = False
    """It has learnt where words lie in the sound."""
    characters: frozenset[str] | None = None
    """What hotwords may be made of; None when it cannot be told words."""
    dialects: tuple[str, ...] = ()
    """Tags that it tells apart."""
    labels: tuple[str, ...] = ()
    """Leaves of its label tree."""
    dimensions: int | None = None
    """Of the vectors that it makes of inputs; None when it makes none."""


class Word(BaseModel):
    """A word with its bounds in the sound; of Chinese, a character."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    start_seconds: Annotated[float, Field(ge=0)]
    end_seconds: Annotated[float, Field(ge=0)]


class Vector(BaseModel):
    """A text's vector, of length 1, and how much of the text went into it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: tuple[float, ...]
    tokens: Annotated[int, Field(ge=0)]
    """What the encoder read: its tokenizer's pieces, or characters where it has none."""


def units(text: str) -> list[str]:
    """Words of Latin letters, runs of digits, and every other character by itself; blanks are dropped."""
    return _UNIT.findall(text)


def is_word(unit: str) -> bool:
    """Whether a unit is a word, and no mark."""
    return bool(_WORD.match(unit))
