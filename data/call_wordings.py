"""What a caller says: a pattern of `demo_calls.yaml` filled in, with the spans of places, departments and numbers."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

KINDS = {"place": "place", "home": "place", "office": "department", "digits": "number"}
"""Slots that are entities, and of which kind."""
SPLITS = ("train", "validation", "test")
_CLAUSE_END = re.compile("，|, ")
_TOKEN = re.compile(r"\(([^()]+)\)|<(\w+)>")


@cache
def dialects() -> dict[str, dict[str, Any]]:
    """The wordings by dialect tag."""
    path = Path(__file__).parent / "demo_calls.yaml"
    content: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


@dataclass(frozen=True)
class Entity:
    """Characters [start, end) of a text."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Sentence:
    text: str
    entities: tuple[Entity, ...]


class Caller:
    """Makes up sentences of one dialect; its places are those of one split only."""

    def __init__(self, dialect: str, split: str, draw: random.Random) -> None:
        self.words, self.split, self.draw = dialects()[dialect], split, draw
        self.space = str(self.words.get("space", ""))
        self.names = names(dialect, split)

    def pattern(self) -> str:
        """What the next sentence is about."""
        chosen: str = self.draw.choice(self.words["pattern"])
        return chosen

    def sentence(self, pattern: str) -> Sentence:
        """One sentence of this pattern, within the dialect's bounds of length."""
        shortest, longest = self.words["characters"]
        while True:
            sentence = _joined(self._fill(pattern))
            if shortest <= len(sentence.text) <= longest:
                return sentence

    def phrase(self, pattern: str) -> Sentence:
        """One clause of a sentence, as a sentence of its own."""
        sentence = self.sentence(pattern)
        cuts = [0, *(match.end() for match in _CLAUSE_END.finditer(sentence.text)), len(sentence.text)]
        start, end = self.draw.choice([span for span in pairwise(cuts) if span[1] > span[0]])
        said = sentence.text[start:end].rstrip()
        if said[-1] in "，,":
            said = said[:-1] + ("。" if said[-1] == "，" else ".")
        inside = [entity for entity in sentence.entities if start <= entity.start and entity.end <= end]
        return Sentence(
            said[0].upper() + said[1:],
            tuple(Entity(entity.start - start, entity.end - start, entity.kind) for entity in inside),
        )

    def _fill(self, text: str) -> Iterator[tuple[str, str]]:
        """Pieces of text, each with its kind of entity or none."""
        end = 0
        for token in _TOKEN.finditer(text):
            yield text[end : token.start()], ""
            yield from self._slot(token[2]) if token[2] else self._fill(self.draw.choice(token[1].split("|")))
            end = token.end()
        yield text[end:], ""

    def _slot(self, name: str) -> Iterator[tuple[str, str]]:
        if name in ("place", "home"):
            form = self.draw.choice(self.words["homes" if name == "home" else "forms"]).replace(
                "<name>", self.draw.choice(self.names)
            )
            filled = form.replace("<n>", self._number())
        elif name == "digits":
            filled = self._join([self.draw.choice(self.words["digits"]) for _ in range(self.draw.randint(4, 7))])
        elif name == "office":
            filled = self.draw.choice(self.words[name])
        else:
            options = self.words[name]
            yield from self._fill(options if isinstance(options, str) else self.draw.choice(options))
            return
        yield filled, KINDS[name]

    def _number(self) -> str:
        """A number of a house in words: one to ninety-nine, in English without the teens."""
        tens, units = self.draw.choice(self.words["tens"]), self.draw.choice(self.words["units"])
        return self._join([word for word in (tens, units) if word] or self.words["units"][1:2])

    def _join(self, words: Sequence[str]) -> str:
        return self.space.join(words)


def _joined(pieces: Iterator[tuple[str, str]]) -> Sentence:
    text, entities = "", []
    for piece, kind in pieces:
        if kind:
            entities.append(Entity(len(text), len(text) + len(piece), kind))
        text += piece
    return Sentence(text[0].upper() + text[1:], tuple(entities))


def home(sentence: Sentence) -> str | None:
    """The one split that says a sentence without a place, for every seed; a place settles it for the others."""
    if any(entity.kind == "place" for entity in sentence.entities):
        return None
    return SPLITS[{0: 2, 1: 2, 2: 1}.get(zlib.crc32(sentence.text.encode()) % 10, 0)]


@cache
def names(dialect: str, split: str) -> tuple[str, ...]:
    """The names of places of one split: each pair of a first and a second word belongs to one split, for every seed."""
    words = dialects()[dialect]
    return tuple(
        str(words.get("space", "")).join((first, second))
        for row, first in enumerate(words["first"])
        for column, second in enumerate(words["second"])
        if first != second and SPLITS[{0: 2, 1: 1}.get((row + 2 * column) % 7, 0)] == split
    )
