"""What of an engine's pieces is told to the caller of a chat: text, and tokens with their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from hotline.families.chat import BROKEN, Chat
from serving.chat_answers import TokenLogprob, TopLogprob
from serving.chat_news import News
from serving.engines.plans import Piece, Token

LEAST_LOGPROB = -9999.0
"""Of a token that the model itself would never write."""


class Teller:
    """For one choice; the text of a judged one is written as the task's own answers are."""

    def __init__(self, chat: Chat, logprobs: bool, judged: bool) -> None:
        self._chat, self._logprobs = chat, logprobs
        self._trimmed = Trimmed(chat.longest) if judged else None

    def news(self, number: int, piece: Piece) -> News:
        text = self._trimmed.add(piece.text) if self._trimmed else piece.text
        told = tuple(map(self._token, piece.tokens)) if self._logprobs else None
        return News(number, text, len(piece.tokens), told, piece.finish, piece.closed)

    def _token(self, token: Token) -> TokenLogprob:
        own, *top = (self._top(*each) for each in ((token.number, token.logprob), *token.top))
        return TokenLogprob(**own.model_dump(), top_logprobs=top)

    def _top(self, number: int, logprob: float) -> TopLogprob:
        text = str(self._chat.tokenizer.decode([number], clean_up_tokenization_spaces=False))
        content = list(text.encode()) if BROKEN not in text else self._bytes(number)
        shown = text if BROKEN not in text else "bytes:" + "".join(f"\\x{byte:02x}" for byte in content or ())
        return TopLogprob(token=shown, logprob=max(logprob, LEAST_LOGPROB), bytes=content)

    def _bytes(self, number: int) -> list[int] | None:
        """The bytes of a token that is a part of a character, in the spelling of byte-level tokenizers."""
        spelt = str(self._chat.tokenizer.convert_ids_to_tokens(number))
        if spelt.startswith("<0x") and len(spelt) == 6:  # SentencePiece's
            return [int(spelt[3:5], 16)]
        found = [_BYTE_OF.get(character) for character in spelt]
        return [byte for byte in found if byte is not None] if None not in found else None


class Trimmed:
    """Text without blanks at its ends, up to a length; blanks wait until something follows them."""

    def __init__(self, longest: int | None) -> None:
        self._left, self._blanks, self._begun = longest, "", False

    def add(self, text: str) -> str:
        whole = self._blanks + text if self._begun else text.lstrip()
        told = whole.rstrip()
        self._begun, self._blanks = self._begun or bool(told), whole[len(told) :]
        if self._left is not None:
            told = told[: self._left]
            self._left -= len(told)
        return told


def _spelt_bytes() -> dict[str, int]:
    """GPT-2's spelling: printable bytes as they are, the others as characters from U+0100 on, in their order."""
    printable: Sequence[int] = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


_BYTE_OF = _spelt_bytes()
