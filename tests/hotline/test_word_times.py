"""Where words lie: in order, within the sound, and where the scores say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline import families
from hotline.audio import TELEPHONE_HZ, Audio, tone
from hotline.families import transcriber
from hotline.families.characters import Characters
from hotline.families.transcriber_options import TranscriberOptions
from hotline.families.word_times import OUTPUT_SECONDS, Aligner, aligned
from hotline.tasks import find
from hotline.wishes import Wish, is_word, units

TASK = find("transcription")
TEXT = "路灯坏了，the lamp's 12。"
CTC = {
    "architecture": "ctc",
    "width": 32,
    "layers": 1,
    "heads": 2,
    "stem_channels": 8,
    "word_times": True,
}


def test_a_word_is_a_chinese_character_a_latin_word_or_a_number() -> None:
    assert [unit for unit in units(TEXT) if is_word(unit)] == ["路", "灯", "坏", "了", "the", "lamp's", "12"]


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="路灯坏了，。 abc'1", max_size=12), st.integers(0, 99))
def test_words_are_in_order_within_the_sound_whatever_is_aligned(text: str, seed: int) -> None:
    characters = Characters.of(["路灯坏了。", "abc"])
    logits = np.random.default_rng(seed).normal(size=(50, len(characters))).astype(np.float32)
    words = aligned(logits - np.log(np.exp(logits).sum(1, keepdims=True)), units(text), characters, 1.9)
    times = [time for word in words for time in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert all(0 <= time <= 1.9 for time in times)
    known = any(characters.encode(unit) for unit in units(text))
    assert [word.text for word in words] == ([unit for unit in units(text) if is_word(unit)] if known else [])


def test_words_meet_half_way_and_a_pause_belongs_to_none() -> None:
    characters = Characters.of(["甲乙丙"])
    path = [0] * 5 + characters.encode("甲") + [0] * 4 + characters.encode("乙") + [0] * 40 + characters.encode("丙")
    scores = np.full((len(path), len(characters)), -9.0, np.float32)
    scores[np.arange(len(path)), path] = -0.1
    first, second, third = aligned(scores, list("甲乙丙"), characters, len(path) * OUTPUT_SECONDS)
    assert first.end_seconds == second.start_seconds == 8 * OUTPUT_SECONDS
    assert third.start_seconds - second.end_seconds == pytest.approx(40 * OUTPUT_SECONDS - 0.2)


def test_a_text_that_does_not_fit_into_the_sound_has_no_times() -> None:
    model = Aligner(TELEPHONE_HZ, Characters.of(["路灯坏了"])).eval()
    assert model.words(np.zeros(400, np.float32), "路灯坏了" * 9) == ()


def test_an_aligner_learns_where_two_tones_lie() -> None:
    """Two words that are two tones, at places that change from clip to clip."""
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    tones = {"甲": tone(0.3, 500), "乙": tone(0.3, 1500)}

    def clip() -> tuple[Any, list[float]]:
        gaps = draw.uniform(0.1, 0.5, 3)
        parts, at, starts = [np.zeros(int(gaps[0] * TELEPHONE_HZ))], gaps[0], []
        for word, gap in zip("甲乙", gaps[1:], strict=True):
            starts.append(at)
            parts += [tones[word].samples, np.zeros(int(gap * TELEPHONE_HZ))]
            at += 0.3 + gap
        wave = np.concatenate(parts) / 32768 + draw.normal(0, 1e-3, sum(map(len, parts)))
        return wave.astype(np.float32), starts

    model = Aligner(TELEPHONE_HZ, Characters.of(["甲乙"]))
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(80):
        loss = model.loss(model.prepare([clip()[0] for _ in range(8)], ["甲乙"] * 8))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    errors = []
    for _ in range(20):
        wave, starts = clip()
        found = [word.start_seconds for word in model.words(wave, "甲乙")]
        errors += [abs(a - b) for a, b in zip(found, starts, strict=True)]
    assert float(np.median(errors)) < 0.16


def test_a_version_keeps_what_it_learnt_of_places_and_one_without_says_so(tmp_path: Path) -> None:
    sound = Audio((3000 * np.random.default_rng(0).normal(size=TELEPHONE_HZ)).astype(np.int16), TELEPHONE_HZ)
    inputs = [TASK.input.model_validate({"audio": sound})]
    targets = [TASK.target.model_validate({"text": TEXT, "dialect": "cmn"})]
    model = transcriber.create(TranscriberOptions.model_validate(CTC), TASK, None, inputs, targets)
    batch = transcriber.prepare(model, inputs, targets)
    transcriber.loss(model, batch).backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None for each in model.aligner.parameters())  # type: ignore[union-attr]
    transcriber.save(model, tmp_path)
    loaded = transcriber.load(tmp_path, TASK)
    family: Any = transcriber
    assert families.abilities(family, loaded).words
    [plain] = families.answer(family, loaded, inputs)
    [timed] = families.answer(family, loaded, inputs, wishes=[Wish(words=True)])
    assert plain.words == ()
    assert plain.target == timed.target
    assert loaded.aligner
    assert loaded.aligner.words(np.asarray(sound.samples / 32768, np.float32), "路灯坏了")
    without = transcriber.create(
        TranscriberOptions.model_validate({**CTC, "word_times": False}), TASK, None, inputs, targets
    )
    assert not families.abilities(family, without).words
