"""What callers of a transcriber may wish for beside the answer: words to listen for, and where words lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hotline.families import speech_features
from hotline.task import Answer, Input
from hotline.wishes import Abilities, Wish


def abilities(model: Any) -> Abilities:
    """Word times where they were learnt, hotwords in the characters of a CTC, and the dialects that are told apart."""
    symbols = _symbols(model.recogniser)
    return Abilities(
        words=model.writes and model.aligner is not None,
        characters=symbols.alphabet if symbols and model.writes else None,
        dialects=tuple(model.dialects),
    )


def expected(model: Any, wishes: Sequence[Wish]) -> list[list[list[int]]]:
    """For every clip its hotwords as the recogniser's symbols; empty where nobody has any."""
    symbols = _symbols(model.recogniser)
    found = [[numbers for word in wish.hotwords if (numbers := symbols.encode(word))] for wish in wishes]
    return found if any(found) else []


def with_words(
    model: Any, answers: Iterable[Answer], inputs: Sequence[Input], wishes: Sequence[Wish]
) -> Iterator[Answer]:
    """The answers, with the times of their words where they are wished for."""
    for answer, given, wish in zip(answers, inputs, wishes, strict=True):
        if not wish.words:
            yield answer
            continue
        wave = speech_features.wave(getattr(given, model.audio_field), model.aligner.sample_rate_hz)
        words = model.aligner.words(wave, getattr(answer.target, "text"))  # noqa: B009
        yield answer.model_copy(update={"words": words})


def _symbols(recogniser: Any) -> Any:
    """The vocabulary of a CTC; None for recognisers that write by themselves, which cannot be told words."""
    return getattr(recogniser, "symbols", recogniser.characters) if getattr(recogniser, "spells", False) else None
