"""Is a clip fit to learn from? Level, clipping, noise, duration, and how fast its transcript would have been spoken.

What is measured, over frames of 20 ms:
  level     RMS of the 95th percentile frame, dB below full scale: how loud it is where it is loud
  clipped   share of samples within 0.2 dB of full scale (G.711 ends there, too)
  SNR       power of the 95th percentile frame over that of the 10th, less that: speech over what is heard in its
            pauses. Rough, and too low where nobody pauses, so the default bound refuses only steady noise and tones.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hotline.audio import Audio

FRAME_SECONDS = 0.02
FULL_SCALE = 32_768
NEAR_FULL_SCALE = 32_000
_LOUD, _QUIET = 95, 10
_SHORTEST_FOR_SNR_SECONDS = 1.0
_ROBUST = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
_LEAST_SPREAD = 0.1
"""Of the logarithm of the rate: clips that are all alike make no outlier of one that differs a little."""


class Bounds(BaseModel):
    """What a clip must keep to; `checks:` in a mapping."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_seconds: Annotated[float, Field(ge=0)] = 0.1
    max_seconds: Annotated[float, Field(gt=0)] = 4 * 3600
    min_level_dbfs: float = -55.0
    max_clipped: Annotated[float, Field(ge=0, le=1)] = 0.05
    min_snr_db: float = 0.0
    max_characters_per_second: Annotated[float, Field(gt=0)] = 40.0
    rate_deviations: Annotated[float, Field(gt=0)] = 6.0
    """Robust standard deviations of the logarithm of characters per second within one language."""
    rate_rows: Annotated[int, Field(ge=2)] = 50
    """Fewer rows of a language than this, and their rate has no outliers."""


@dataclass(frozen=True)
class Measured:
    """One clip in figures; `snr_db` is None where the clip is too short to tell."""

    seconds: float
    level_dbfs: float
    clipped: float
    snr_db: float | None


def measure(audio: Audio) -> Measured:
    """What a clip sounds like, in figures."""
    samples_T = audio.samples
    length = max(1, int(FRAME_SECONDS * audio.sample_rate_hz))
    if len(samples_T) < length:
        power_F = np.array([_power(samples_T)])
    else:
        whole = samples_T[: len(samples_T) // length * length].astype(np.float32).reshape(-1, length)
        power_F = np.einsum("ft,ft->f", whole, whole) / length / FULL_SCALE**2
    loud, quiet = (float(value) for value in np.percentile(power_F, (_LOUD, _QUIET)))
    long_enough = audio.seconds >= _SHORTEST_FOR_SNR_SECONDS
    return Measured(
        seconds=audio.seconds,
        level_dbfs=_decibels(loud),
        clipped=_near_full_scale(samples_T) / max(1, len(samples_T)),
        snr_db=_decibels((loud - quiet) / quiet) if long_enough and quiet > 0 else None,
    )


def _power(samples_T: np.ndarray) -> float:
    return float(np.mean((samples_T.astype(np.float64) / FULL_SCALE) ** 2)) if len(samples_T) else 0.0


def _near_full_scale(samples_T: np.ndarray) -> int:
    return int(np.count_nonzero(samples_T >= NEAR_FULL_SCALE) + np.count_nonzero(samples_T <= -NEAR_FULL_SCALE))


def _decibels(ratio: float) -> float:
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def reasons(found: Measured, bounds: Bounds) -> list[str]:
    """Why a clip is not fit to learn from: field, what, and (found; bound)."""
    said = []
    if found.seconds < bounds.min_seconds:
        said.append(f"shorter than a word ({found.seconds:.2f} s; at least {bounds.min_seconds:g} s)")
    if found.seconds > bounds.max_seconds:
        said.append(f"longer than allowed ({found.seconds:,.0f} s; at most {bounds.max_seconds:,.0f} s)")
    if found.level_dbfs < bounds.min_level_dbfs:
        said.append(f"silent (level {found.level_dbfs:.0f} dBFS; at least {bounds.min_level_dbfs:g} dBFS)")
    elif found.snr_db is not None and found.snr_db < bounds.min_snr_db:
        said.append(f"nothing above the noise (SNR {found.snr_db:.0f} dB; at least {bounds.min_snr_db:g} dB)")
    if found.clipped > bounds.max_clipped:
        said.append(f"clipped ({found.clipped:.1%} of the samples at full scale; at most {bounds.max_clipped:.1%})")
    return [f"input.audio: {what}" for what in said]


def characters(text: str) -> int:
    """Letters and digits: what is spoken of a text."""
    return sum(unicodedata.category(character)[0] in "LN" for character in text)


@dataclass(frozen=True)
class Spoken:
    """One clip and how much is said to be spoken in it."""

    language: str
    text: str
    seconds: float

    @property
    def rate(self) -> float:
        """Characters per second."""
        return characters(self.text) / self.seconds


def rate_reasons(spoken: Sequence[Spoken], bounds: Bounds) -> list[str | None]:
    """For each clip why its text cannot be what is spoken in it, or None. Rates are compared within a language."""
    usual = _usual_rates(spoken, bounds)
    return [_rate_reason(one, usual.get(one.language), bounds) for one in spoken]


def _usual_rates(spoken: Iterable[Spoken], bounds: Bounds) -> dict[str, tuple[float, float]]:
    """Lowest and highest usual rate of every language with enough rows, around the median of the logarithms."""
    rates = defaultdict(list)
    for one in spoken:
        if one.rate > 0:
            rates[one.language].append(math.log(one.rate))
    usual = {}
    for language, logs in rates.items():
        if len(logs) >= bounds.rate_rows:
            middle = float(np.median(logs))
            spread = max(_LEAST_SPREAD, _ROBUST * float(np.median(np.abs(np.array(logs) - middle))))
            width = bounds.rate_deviations * spread
            usual[language] = math.exp(middle - width), math.exp(middle + width)
    return usual


def _rate_reason(one: Spoken, usual: tuple[float, float] | None, bounds: Bounds) -> str | None:
    low, high = usual or (0.0, math.inf)
    high = min(high, bounds.max_characters_per_second)
    if one.rate > high:
        return f"target.text: more than can be spoken in that time ({one.rate:.1f} characters/s; at most {high:.1f})"
    if one.rate < low:
        return f"target.text: less than is spoken in that time ({one.rate:.2f} characters/s; at least {low:.2f})"
    return None
