"""The voices say what is written, and say so when they are not there."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from data import sichuanese, voices
from data.voices import Voice, speech
from hotline.audio import Samples
from hotline.errors import InputError, UnavailableError
from hotline.telephone import rms


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("cmn", "人民路的路灯坏了"),
        ("yue", "彌敦道嘅街燈壞咗"),
        ("gmw/en", "The street light"),
        ("sit/cmn-Latn-pinyin", "ren5 min5"),
    ],
)
def test_every_language_is_spoken_aloud(language: str, text: str) -> None:
    said = speech().say(text, Voice(language))
    assert said.dtype == np.int16 and rms(said) > 500
    assert 0.3 < len(said) / speech().sample_rate_hz < 4


def test_pitch_pace_and_timbre_are_heard() -> None:
    slow, fast = (speech().say("一二三四五六", Voice("cmn", rate=rate)) for rate in (120, 240))
    assert len(slow) > 1.4 * len(fast)
    low, high = (_pitch(speech().say("衣衣衣", Voice("cmn", pitch=pitch))) for pitch in (20, 80))
    assert high > 1.2 * low
    man, woman = (_pitch(speech().say("衣衣衣", Voice("cmn", variant))) for variant in ("m1", "f2"))
    assert woman > 1.2 * man


def _pitch(said: Samples) -> float:
    """The frequency in hertz whose period the middle of the sound repeats best."""
    middle = said[len(said) // 3 : len(said) // 3 + 4096].astype(float)
    likeness = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    first_dip = int(np.argmax(likeness < 0))
    return speech().sample_rate_hz / (first_dip + float(np.argmax(likeness[first_dip:])))


def test_cantonese_reads_traditional_characters_one_syllable_each() -> None:
    assert speech().phonemes("嘅喺唔咗嚟冇啲", "yue").split() == [
        "g'e3_|",
        "h'ai2_|",
        "'ng4_|",
        "z'o2_|",
        "l'ai4_|",
        "m'ou5_|",
        "d'i1_|",
    ]


def test_an_unknown_voice_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="xx\\+m1"):
        speech().say("hello", Voice("xx"))


def test_a_missing_library_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UnavailableError, match=r"pip install 'hotline\[demo\]'"):
        voices.Speech()


def test_chengdu_says_it_so() -> None:
    standard = "zhong1 shi4 chang2 nan2 ni3 nv3 hu2 hua1 ming2 leng3 feng1 wo3 duo1 ge1 de5"
    chengdu = "zong1 si3 cang5 lan5 ni4 nv4 fu5 hua1 min5 len4 fong1 o4 do1 go1 de5"
    assert " ".join(map(sichuanese.syllable, standard.split())) == chengdu


def test_the_entering_tone_went_to_the_second() -> None:
    assert sichuanese.syllable("yi1", entering=True) == "yi5"
    assert sichuanese.pinyin("七十号，莫得。") == "qi5 si5 hao3 , mo5 de5 ."
