"""Recognisers by their options: fresh for training, or as they were saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotline.families.characters import Characters
from hotline.families.recognisers import CtcRecogniser
from hotline.families.transcriber_options import CtcOptions, PretrainedSpeechOptions, SequenceOptions


def fresh(options: CtcOptions | SequenceOptions | PretrainedSpeechOptions, texts: Sequence[str]) -> Any:
    """A recogniser for training, its characters those of the training transcripts."""
    if isinstance(options, CtcOptions):
        return CtcRecogniser(options, Characters.of(texts, pieces=options.pieces))
    if isinstance(options, SequenceOptions):
        from hotline.families.sequence_recogniser import RESERVED, SequenceRecogniser

        return SequenceRecogniser(options, Characters.of(texts, RESERVED, options.pieces))
    from hotline.families import pretrained_speech

    return pretrained_speech.from_base(options, texts)


def saved(
    options: CtcOptions | SequenceOptions | PretrainedSpeechOptions, vocabulary: dict[str, Any], base: Path
) -> Any:
    """The architecture of a saved recogniser, without its weights."""
    if isinstance(options, CtcOptions):
        return CtcRecogniser(options, Characters.restored(vocabulary))
    if isinstance(options, SequenceOptions):
        from hotline.families.sequence_recogniser import RESERVED, SequenceRecogniser

        return SequenceRecogniser(options, Characters.restored(vocabulary, RESERVED))
    from hotline.families import pretrained_speech

    return pretrained_speech.from_saved(options, base, vocabulary)


def vocabulary(recogniser: Any) -> dict[str, Any]:
    """The recogniser's own symbols; none when it brings a tokenizer."""
    characters: Characters | None = recogniser.characters
    return characters.described() if characters else {}


def save_base(recogniser: Any, folder: Path) -> None:
    """Configuration, tokenizer and feature extractor of a pretrained base; nothing from scratch."""
    if hasattr(recogniser, "save"):
        recogniser.save(folder)
