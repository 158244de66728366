"""Clips of an audio language model, written down side by side."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hotline import families
from hotline.audio import Audio
from hotline.families import row_cache, transcriber
from hotline.families.listening import Clip, Listening
from hotline.families.transcriber_options import TranscriberOptions
from hotline.task import Answer, Input
from hotline.tasks import find
from hotline.wishes import NOTHING, Wish

TINY = runpy.run_path(str(Path(__file__).parents[1] / "random_audio_language_models.py"))
TASK = find("transcription")
TEXTS = ("路灯", "ba c", "冇水 ab")
KINDS = ("qwen3_asr", "fun_asr_nano")
MEMORY = 2**22


def made(folder: Path, kind: str, **changed: Any) -> Any:
    TINY[kind](folder, TEXTS)
    described = {"architecture": "pretrained", "base": str(folder), "language": "zh", "max_characters": 16, **changed}
    targets = [TASK.target.model_validate({"text": text, "dialect": "mandarin"}) for text in TEXTS]
    torch.manual_seed(0)
    return transcriber.create(TranscriberOptions.model_validate(described), TASK, None, clips(3), targets).eval()


def clips(count: int) -> list[Input]:
    """Noise of a tenth of a second to five seconds."""
    draw = np.random.default_rng(1)
    sounds = (draw.normal(0, 3000, int(length)).astype(np.int16) for length in draw.integers(800, 40_000, count))
    return [TASK.input.model_validate({"audio": Audio(each, 8000)}) for each in sounds]


def listening(model: Any, memory: int = MEMORY) -> Listening:
    found = transcriber.listening(model, memory)
    assert found
    return found


def joined(rows: Listening, *given: Input, wish: Wish = NOTHING) -> list[Clip]:
    found = rows.join([(each, wish) for each in given])
    return [clip for clip in found if clip]


def heard(rows: Listening, given: list[Input], together: int) -> list[Answer]:
    """The answers; so many clips join at every third step."""
    left, answers, written = list(given), dict[int, Answer](), 0
    while len(answers) < len(given):
        if left:
            written += len(joined(rows, *left[:together]))
            left = left[together:]
        for _ in range(3):
            for clip in rows.step() if written else []:
                answers[id(clip.given)] = rows.answer(clip)
                written -= 1
    return [answers[id(each)] for each in given]


@pytest.mark.parametrize("kind", KINDS)
def test_clips_that_come_and_go_are_heard_as_a_batch_is(kind: str, tmp_path: Path) -> None:
    model, given = made(tmp_path, kind), clips(12)
    batch, found = families.answer(transcriber, model, given), heard(listening(model), given, 4)
    assert [each.target.text for each in found] == [each.target.text for each in batch]  # type: ignore[attr-defined]
    assert len({each.target.text for each in found}) > 3, "they say different things"  # type: ignore[attr-defined]
    assert [each.confidence for each in found] == pytest.approx([each.confidence for each in batch], rel=1e-4)


def test_a_clip_that_does_not_fit_waits_until_others_have_left(tmp_path: Path) -> None:
    model, [first, second] = made(tmp_path, "qwen3_asr"), clips(2)
    [clip] = joined(listening(model), first)
    small = listening(model, clip.stretch.size * row_cache.bytes_per_token(model.recogniser.model.config.text_config))
    [held] = joined(small, first)
    assert small.join([(second, NOTHING)]) == [None]
    small.leave(held)
    small.leave(held)
    assert [clip is None for clip in small.join([(first, NOTHING), (second, NOTHING)])] == [False, True]


def test_only_what_takes_the_likeliest_symbol_is_written_side_by_side(tmp_path: Path) -> None:
    assert transcriber.listening(made(tmp_path / "beams", "qwen3_asr", beams=2), MEMORY) is None
    model = made(tmp_path / "penalised", "qwen3_asr")
    model.recogniser.model.generation_config.repetition_penalty = 1.2
    assert transcriber.listening(model, MEMORY) is None


def test_words_are_told_to_those_who_wish_for_them(tmp_path: Path) -> None:
    model, [given] = made(tmp_path, "qwen3_asr", word_times=True), clips(1)
    rows, wish = listening(model), Wish(words=True)
    joined(rows, given, wish=wish)
    ended: list[Clip] = []
    while not ended:
        ended = rows.step()
    [expected] = families.answer(transcriber, model, [given], wishes=[wish])
    assert expected.words and rows.answer(ended[0]).words == expected.words
