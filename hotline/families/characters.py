"""Vocabularies of transcribers that are trained from scratch: characters, or characters and pieces of Latin words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

WORD_START = "▁"
"""How a piece says that a blank is before it."""
_BEFORE_WORD = re.compile(r"(?:\s|^)(?=[a-zà-ÿ])")


def tidy(text: str) -> str:
    """How a transcript is learnt: NFC, lower case, single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


class Characters:
    """Symbols as numbers; the first `reserved` numbers (blank, begin, end) stand for no symbol.

    A symbol is a character, or with `merges` a piece of a Latin word (byte pair encoding, Sennrich et al. 2016): the
    letters of English come faster than CTC can tell them apart, its pieces do not.
    """

    def __init__(self, symbols: Sequence[str], reserved: int = 1, merges: Sequence[tuple[str, str]] = ()) -> None:
        self.symbols, self.reserved, self.merges = list(symbols), reserved, [(a, b) for a, b in merges]
        self._number = {symbol: number for number, symbol in enumerate(self.symbols, start=reserved)}

    @classmethod
    def of(cls, texts: Iterable[str], reserved: int = 1, pieces: int = 0) -> Characters:
        """Every character of the texts, the most frequent first, and `pieces` pieces of Latin words."""
        known = [tidy(text) for text in texts]
        counts = Counter(character for text in known for character in text)
        symbols = sorted(counts, key=lambda character: (-counts[character], character))
        merges = _merges(known, pieces) if pieces else []
        joined = [a + b for a, b in merges]
        starts = [WORD_START] if merges else []
        return cls(list(dict.fromkeys([*symbols, *starts, *joined])), reserved, merges)

    def __len__(self) -> int:
        return self.reserved + len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Numbers of the text's symbols; a character that is not in the vocabulary is left out."""
        return [self._number[symbol] for symbol in self._split(tidy(text)) if symbol in self._number]

    def character(self, number: int) -> str:
        """The text of that symbol; nothing for a reserved one."""
        return self.symbols[number - self.reserved].replace(WORD_START, " ") if number >= self.reserved else ""

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """Every character that can be written."""
        return frozenset("".join(self.symbols).replace(WORD_START, " "))

    def described(self) -> dict[str, Any]:
        """What `restored` needs."""
        return {"symbols": self.symbols, "merges": self.merges}

    @classmethod
    def restored(cls, described: dict[str, Any], reserved: int = 1) -> Characters:
        return cls(described["symbols"], reserved, described["merges"])

    def _split(self, text: str) -> list[str]:
        if not self.merges:
            return list(text)
        symbols: list[str] = []
        for word in _words(text):
            latin = word.startswith(WORD_START) and len(word) > 1
            symbols += [token.value for token in self._bpe.tokenize(word)] if latin else list(word.replace("▁", " "))
        return symbols

    @cached_property
    def _bpe(self) -> Any:
        from tokenizers.models import BPE

        return BPE({symbol: number for number, symbol in enumerate(self.symbols)}, self.merges)


def _words(text: str) -> list[str]:
    """Latin words, each with its mark in place of the blank before it, and everything else character by character."""
    return re.findall(rf"{WORD_START}[a-zà-ÿ']+|.", _BEFORE_WORD.sub(WORD_START, text))


def _merges(texts: Sequence[str], pieces: int) -> list[tuple[str, str]]:
    """The most frequent merges within Latin words, learnt by the tokenizers library."""
    import json

    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.trainers import BpeTrainer

    words = [word for text in texts for word in _words(text) if word.startswith(WORD_START) and len(word) > 1]
    letters = sorted(set("".join(words)))
    tokenizer: Any = Tokenizer(BPE())
    tokenizer.pre_tokenizer = WhitespaceSplit()
    trainer: Any = BpeTrainer(vocab_size=len(letters) + pieces, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    return [(str(a), str(b)) for a, b in json.loads(tokenizer.to_str())["model"]["merges"]]
