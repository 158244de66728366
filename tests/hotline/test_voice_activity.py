"""Where somebody speaks: utterances come apart at pauses, noise and silence hold none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt

from data.voices import Voice, speech
from hotline.audio import TELEPHONE_HZ, Audio, tone
from hotline.voice_activity import stretches

SENTENCES = (
    ("我住在朝阳区，门口的路灯坏了。", "cmn"),
    ("唔該我想查詢垃圾費。", "yue"),
    ("The street lamp outside my house is broken.", "gmw/en"),
    ("请问地铁几点停运？", "cmn"),
)


@pytest.fixture(scope="module")
def utterances() -> list[np.ndarray]:
    """Spoken sentences at 8,000 Hz without silence around."""
    said = []
    for text, language in SENTENCES:
        spoken = Audio(speech().say(text, Voice(language)), speech().sample_rate_hz).at(TELEPHONE_HZ).samples
        loud = np.flatnonzero(np.abs(spoken) > 200)
        said.append(spoken[loud[0] : loud[-1]])
    return said


def with_pauses(utterances: list[np.ndarray], pause_seconds: float) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The utterances with a pause around each, and where they lie."""
    pause = np.zeros(round(pause_seconds * TELEPHONE_HZ), np.int16)
    parts, ranges, at = [pause], [], len(pause)
    for said in utterances:
        ranges.append((at, at + len(said)))
        parts += [said, pause]
        at += len(said) + len(pause)
    return np.concatenate(parts), ranges


def on_the_telephone(samples: np.ndarray, snr_db: float, dbfs: float = -26) -> Audio:
    """The samples in the telephone's band with white noise, at that level of speech."""
    band = butter(4, (300, 3400), "bandpass", fs=TELEPHONE_HZ, output="sos")
    speech_T = sosfilt(band, samples.astype(float))
    noise_T = sosfilt(band, np.random.default_rng(3).standard_normal(len(samples)))
    level = 32768 * 10 ** (dbfs / 20)
    speech_T *= level / np.sqrt(np.mean(speech_T[np.abs(speech_T) > 100] ** 2))
    noise_T *= level * 10 ** (-snr_db / 20) / noise_T.std()
    return Audio(np.clip(speech_T + noise_T, -32768, 32767).astype(np.int16), TELEPHONE_HZ)


@pytest.mark.parametrize("pause_seconds", [0.5, 1.0])
@pytest.mark.parametrize(("snr_db", "dbfs"), [(50, -26), (20, -26), (10, -20), (30, -45)])
def test_utterances_with_pauses_between_come_apart(
    utterances: list[np.ndarray], pause_seconds: float, snr_db: float, dbfs: float
) -> None:
    samples, truth = with_pauses(utterances * 3, pause_seconds)
    found = stretches(on_the_telephone(samples, snr_db, dbfs))
    assert abs(len(found) - len(truth)) <= 1


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_next_to_nothing_of_the_speech_is_lost(utterances: list[np.ndarray], rate: int) -> None:
    samples, truth = with_pauses(utterances, 0.7)
    audio = on_the_telephone(samples, 15).at(rate)
    kept = np.zeros(len(audio.samples), bool)
    for start, end in stretches(audio):
        kept[start:end] = True
    scale = rate // TELEPHONE_HZ
    assert all(kept[start * scale : end * scale].mean() > 0.95 for start, end in truth)


def test_silence_and_steady_noise_hold_no_speech() -> None:
    draw = np.random.default_rng(1)
    noise = (draw.standard_normal(80_000) * 300).astype(np.int16)
    assert stretches(Audio(np.zeros(80_000, np.int16), TELEPHONE_HZ)) == []
    assert stretches(Audio(noise, TELEPHONE_HZ)) == []
    assert stretches(Audio(np.zeros(0, np.int16), TELEPHONE_HZ)) == []


def test_speech_without_a_pause_is_cut_to_the_longest_length(utterances: list[np.ndarray]) -> None:
    samples = np.concatenate(utterances * 6)
    found = stretches(Audio(samples, TELEPHONE_HZ), longest_seconds=5)
    lengths = [end - start for start, end in found]
    assert max(lengths) <= 5 * TELEPHONE_HZ
    assert min(lengths) >= 0.5 * TELEPHONE_HZ
    assert sum(lengths) > 0.95 * len(samples)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 12_000)), max_size=8), st.floats(0.5, 4), st.sampled_from([8, 16])
)
def test_ranges_are_in_order_apart_inside_and_never_too_long(
    parts: list[tuple[bool, int]], longest_seconds: float, kilohertz: int
) -> None:
    voice = np.tile(tone(1.0, 220).samples, 2)
    samples = [voice[:length] if loud else np.zeros(length, np.int16) for loud, length in parts]
    audio = Audio(np.concatenate([np.zeros(0, np.int16), *samples]), kilohertz * 1000)
    found = stretches(audio, longest_seconds)
    edges = [edge for start_end in found for edge in start_end]
    assert edges == sorted(edges)
    assert all(0 <= start < end <= len(audio.samples) for start, end in found)
    assert all((end - start) / audio.sample_rate_hz <= longest_seconds for start, end in found)
