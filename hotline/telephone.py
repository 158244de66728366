"""What a telephone line does to speech: band, G.711, noise, level and lost packets. Pure functions over int16 samples.

Sources: ITU-T G.711 (µ-law, A-law; libsndfile's implementation), ITU-T G.712 (the 300–3,400 Hz channel).
Legend: T samples, F frequencies, H harmonics.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hotline.audio import TELEPHONE_HZ, Audio, Samples

Law = Literal["ULAW", "ALAW"]
Noise = Literal["white", "pink", "babble", "hum"]
NOISES: tuple[Noise, ...] = ("white", "pink", "babble", "hum")
FULL_SCALE = 32768.0
PACKET = TELEPHONE_HZ // 50
"""Samples of a packet of 20 ms."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A kind of line: its band in hertz, range of signal-to-noise ratios in dB, share of packets lost."""

    low_hz: float
    high_hz: float
    snr_db: tuple[float, float]
    packets_lost: float


LINES = {
    "landline": Line(300, 3400, (22, 36), 0),
    "mobile": Line(350, 3200, (18, 32), 0.004),
}
LEVEL_DBFS = (-30.0, -16.0)


def call(audio: Audio, channel: str, law: Law, draw: np.random.Generator) -> Audio:
    """The speech as the far end of a `landline` or a `mobile` hears it, at 8,000 Hz, with a little noise around it."""
    line = LINES[channel]
    speech_T = banded(padded(audio.at(TELEPHONE_HZ).samples, draw), line.low_hz, line.high_hz)
    noise_T = banded(noise(NOISES[draw.integers(len(NOISES))], speech_T, draw), line.low_hz, line.high_hz)
    sound_T = levelled(mixed(speech_T, noise_T, draw.uniform(*line.snr_db)), draw.uniform(*LEVEL_DBFS))
    return Audio(companded(lossy(sound_T, line.packets_lost, draw), law), TELEPHONE_HZ)


def padded(samples_T: Samples, draw: np.random.Generator) -> Samples:
    """Silence of 0.05 to 0.3 s before and after."""
    before, after = (draw.uniform(0.05, 0.3, 2) * TELEPHONE_HZ).astype(int)
    return np.pad(samples_T, (before, after))


def banded(samples_T: Samples, low_hz: float = 300, high_hz: float = 3400) -> Samples:
    """The same at 8,000 Hz without what is below and above the band, whose edges fall over 100 Hz."""
    hertz_F = np.fft.rfftfreq(len(samples_T), 1 / TELEPHONE_HZ)
    passed_F = np.interp(hertz_F, (low_hz - 100, low_hz, high_hz, high_hz + 100), (0, 1, 1, 0))
    return _clipped(np.fft.irfft(np.fft.rfft(samples_T) * passed_F, len(samples_T)))


def mixed(speech_T: Samples, noise_T: Samples, snr_db: float) -> Samples:
    """The speech with the noise at `snr_db` below it."""
    return _clipped(speech_T + noise_T * (rms(speech_T) / max(rms(noise_T), 1e-9) * 10 ** (-snr_db / 20)))


def noise(kind: Noise, speech_T: Samples, draw: np.random.Generator) -> Samples:
    """Noise as long as the speech, at 8,000 Hz and a level of -20 dBFS."""
    count = len(speech_T)
    white_T = draw.standard_normal(count)
    if kind == "hum":
        sound_T = _hum(count, draw) + 0.2 * white_T
    elif kind == "pink":
        sound_T = np.fft.irfft(np.fft.rfft(white_T) / np.sqrt(np.arange(1, count // 2 + 2)), count)
    elif kind == "babble":
        sound_T = _babble(white_T, speech_T, draw)
    else:
        sound_T = white_T
    return _clipped(sound_T * (0.1 * FULL_SCALE / max(rms(sound_T), 1e-9)))


def _hum(count: int, draw: np.random.Generator) -> Floats:
    """The mains' 50 Hz and its odd harmonics, of which a telephone passes those above its band's lower edge."""
    harmonics_H, phases_H1 = np.arange(1, 16, 2), draw.uniform(0, 2 * np.pi, (8, 1))
    waves_HT = np.sin(2 * np.pi * 50 / TELEPHONE_HZ * np.outer(harmonics_H, np.arange(count)) + phases_H1)
    hum_T: Floats = (1 / harmonics_H) @ waves_HT
    return hum_T


def _babble(white_T: Floats, speech_T: Samples, draw: np.random.Generator) -> Floats:
    """Noise with the spectrum of the speech, swelling and fading a few times a second as a room of talkers does."""
    shape_F = np.abs(np.fft.rfft(speech_T))
    width = max(1, len(shape_F) // 60)
    smooth_F = np.convolve(shape_F, np.ones(width) / width, "same")
    swell_T = np.sin(2 * np.pi * draw.uniform(2, 5) / TELEPHONE_HZ * np.arange(len(white_T)) + draw.uniform(0, 6.28))
    babble_T: Floats = np.fft.irfft(np.fft.rfft(white_T) * smooth_F, len(white_T)) * (1 + 0.6 * swell_T)
    return babble_T


def levelled(samples_T: Samples, dbfs: float) -> Samples:
    """The same at a root-mean-square level of `dbfs`; peaks over full scale are clipped."""
    return _clipped(samples_T * (10 ** (dbfs / 20) * FULL_SCALE / max(rms(samples_T), 1e-9)))


def lossy(samples_T: Samples, share: float, draw: np.random.Generator) -> Samples:
    """The same with a share of its 20 ms packets lost, each concealed by the one before it at half its loudness."""
    heard_T = samples_T.copy()
    for packet in np.flatnonzero(draw.random(len(samples_T) // PACKET) < share):
        start = int(packet) * PACKET
        if start:
            heard_T[start : start + PACKET] = heard_T[start - PACKET : start] // 2
    return heard_T


def companded(samples_T: Samples, law: Law) -> Samples:
    """The same after a G.711 round trip: 8 bits a sample, by µ-law or A-law."""
    import soundfile

    wire = io.BytesIO()
    soundfile.write(wire, samples_T, TELEPHONE_HZ, format="WAV", subtype=law)
    wire.seek(0)
    heard_T: Samples = soundfile.read(wire, dtype="int16")[0]
    return heard_T


def rms(samples_T: Samples | npt.NDArray[np.floating[Any]]) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(samples_T, dtype=np.float64)))) if len(samples_T) else 0.0


def _clipped(samples_T: npt.NDArray[np.floating[Any]]) -> Samples:
    clipped_T: Samples = np.clip(np.rint(samples_T), -32768, 32767).astype(np.int16)
    return clipped_T
