"""A generated call sounds as if it had come over a line."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from hotline import telephone
from hotline.audio import TELEPHONE_HZ, Audio, Samples, tone
from hotline.telephone import LEVEL_DBFS, PACKET, Law, Noise, rms


def draw(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def decibels(one: Samples, other: Samples) -> float:
    return float(20 * np.log10(rms(one) / rms(other)))


@pytest.mark.parametrize("channel", list(telephone.LINES))
def test_a_call_is_narrowband_at_a_telephone_s_level(channel: str) -> None:
    heard = telephone.call(tone(2, sample_rate_hz=22050), channel, "ULAW", draw())
    assert heard.sample_rate_hz == TELEPHONE_HZ and heard.samples.dtype == np.int16
    assert 2.05 <= heard.seconds <= 2.65
    level = 20 * np.log10(rms(heard.samples) / telephone.FULL_SCALE)
    assert LEVEL_DBFS[0] - 1 <= level <= LEVEL_DBFS[1] + 1


def test_the_same_seed_gives_the_same_call_and_another_another() -> None:
    first, second, other = (telephone.call(tone(), "mobile", "ALAW", draw(seed)) for seed in (1, 1, 2))
    assert first == second and first != other


@pytest.mark.parametrize("hertz", [100, 3700])
def test_what_is_outside_the_band_is_gone(hertz: float) -> None:
    assert decibels(telephone.banded(tone(1, hertz).samples)[800:], tone(1, hertz).samples) < -30


@pytest.mark.parametrize("hertz", [400, 1000, 3000])
def test_what_is_inside_the_band_stays(hertz: float) -> None:
    assert abs(decibels(telephone.banded(tone(1, hertz).samples)[800:], tone(1, hertz).samples)) < 1


@pytest.mark.parametrize("law", get_args(Law))
def test_g711_keeps_256_levels_and_is_its_own_fixed_point(law: Law) -> None:
    every = np.arange(-32768, 32767, dtype=np.int16)
    once = telephone.companded(every, law)
    assert len(np.unique(once)) in (255, 256)
    assert np.array_equal(telephone.companded(once, law), once)
    assert decibels(tone().samples, telephone.companded(tone().samples, law) - tone().samples) > 35


def test_the_laws_are_those_of_a_law_and_mu_law_files() -> None:
    silence = np.zeros(10, np.int16)
    assert set(telephone.companded(silence, "ULAW")) == {0} and set(telephone.companded(silence, "ALAW")) == {8}


@pytest.mark.parametrize("kind", get_args(Noise))
def test_every_noise_is_as_loud_as_asked_and_none_repeats(kind: Noise) -> None:
    speech = tone(2).samples
    noise = telephone.noise(kind, speech, draw())
    heard = telephone.mixed(speech, noise, 20)
    assert len(noise) == len(speech)
    assert abs(decibels(speech, heard - speech) - 20) < 0.5
    assert not np.array_equal(noise, telephone.noise(kind, speech, draw(2)))


def test_lost_packets_are_concealed_by_the_ones_before() -> None:
    speech = tone(10, hertz=50).samples
    heard = telephone.lossy(speech, 0.1, draw())
    packets = heard.reshape(-1, PACKET) != speech.reshape(-1, PACKET)
    assert 0.05 < packets.any(axis=1).mean() < 0.15
    assert np.array_equal(telephone.lossy(speech, 0, draw()), speech)


def test_silence_stays_silence() -> None:
    heard = telephone.call(Audio(np.zeros(4000, np.int16), TELEPHONE_HZ), "landline", "ULAW", draw())
    assert not heard.samples.any()


def test_a_level_above_full_scale_is_clipped_not_wrapped() -> None:
    loud = telephone.levelled(tone().samples, 0)
    assert loud.max() == 32767 and loud.min() == -32768
    assert (np.sign(loud) == np.sign(tone().samples)).mean() > 0.99
