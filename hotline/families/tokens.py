"""The vocabulary of a pretrained checkpoint: its tokenizer, seen one symbol at a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

WORD_START = "▁"
"""How SentencePiece writes the blank before a word."""
BROKEN = "\N{REPLACEMENT CHARACTER}"


class Tokens:
    """A tokenizer of transformers: texts as numbers, and numbers as pieces of text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.delimiter: str | None = getattr(tokenizer, "word_delimiter_token", None)
        self._special = set(tokenizer.all_special_ids)

    def encode(self, text: str) -> list[int]:
        """Numbers of the text; what the tokenizer does not know is left out."""
        return [number for number in self._numbers(text) if number != self.tokenizer.unk_token_id]

    def character(self, number: int) -> str:
        """What a number of a CTC vocabulary stands for: a character, a piece of a word, a blank, or nothing."""
        token = str(self.tokenizer.convert_ids_to_tokens(number))
        if token == self.delimiter:
            return " "
        return "" if number in self._special else token.replace(WORD_START, " ")

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """Every character that a CTC over these numbers can write."""
        return frozenset("".join(self.character(number) for number in range(len(self.tokenizer))))

    def written(self, numbers: Sequence[int]) -> list[tuple[str, list[int]]]:
        """The text in pieces, each with the places of its numbers: a character may take several byte-level tokens."""
        pieces: list[tuple[str, list[int]]] = []
        pending: list[int] = []
        for place, number in enumerate(numbers):
            if number in self._special:
                continue
            pending.append(place)
            text = self._text([numbers[each] for each in pending])
            if not text.endswith(BROKEN):
                pieces.append((text, pending))
                pending = []
        return pieces  # bytes at the end that make no character are dropped

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Share of the texts' symbols that the tokenizer does not know."""
        unknown = self.tokenizer.unk_token_id
        numbers = [number for text in texts for number in self._numbers(text)]
        return numbers.count(unknown) / max(1, len(numbers))

    def save(self, folder: Path) -> None:
        """The tokenizer's own files."""
        self.tokenizer.save_pretrained(folder)

    def _numbers(self, text: str) -> list[int]:
        tidy = " ".join(unicodedata.normalize("NFC", text).split())
        return list(self.tokenizer(tidy, add_special_tokens=False)["input_ids"])

    def _text(self, numbers: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(numbers), clean_up_tokenization_spaces=False))
