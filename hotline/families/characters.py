"""A vocabulary of characters: the tokenizer of transcribers that are trained from scratch."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence


def tidy(text: str) -> str:
    """How a transcript is learnt: NFC, lower case, single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


class Characters:
    """Characters as numbers; the first `reserved` numbers (blank, begin, end) stand for no character."""

    def __init__(self, symbols: Sequence[str], reserved: int = 1) -> None:
        self.symbols, self.reserved = list(symbols), reserved
        self._number = {symbol: number for number, symbol in enumerate(self.symbols, start=reserved)}

    @classmethod
    def of(cls, texts: Iterable[str], reserved: int = 1) -> Characters:
        """Every character of the texts, the most frequent first."""
        counts = Counter(character for text in texts for character in tidy(text))
        return cls(sorted(counts, key=lambda character: (-counts[character], character)), reserved)

    def __len__(self) -> int:
        return self.reserved + len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Numbers of the text's characters; a character that is not in the vocabulary is left out."""
        return [self._number[character] for character in tidy(text) if character in self._number]

    def character(self, number: int) -> str:
        """The character of that number; nothing for a reserved one."""
        return self.symbols[number - self.reserved] if number >= self.reserved else ""
