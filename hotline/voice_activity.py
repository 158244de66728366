"""Where somebody speaks: stretches of speech between pauses, by WebRTC's voice-activity detector.

Legend: F frames of 20 ms.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from hotline.audio import Audio

LONGEST_SECONDS = 15.0
"""What is heard as one piece; models are trained and judged on clips of this kind."""
FRAME_SECONDS = 0.02
AGGRESSIVENESS = 2
"""Of WebRTC's 0 to 3: 3 loses a seventh of the speech at 15 dB, 0 and 1 hear speech in noise."""
FLOOR_SECONDS, FLOOR_SHARE, ABOVE_FLOOR = 30.0, 0.1, 2.0
"""Sound within 3 dB of what its quietest tenth reaches in half a minute is noise: the detector alone hears speech in
loud noise that follows speech."""
WINDOW_FRAMES = 9
BEGIN_SHARE, END_SHARE = 0.6, 0.25
"""Speech begins when more than the first share of a window is speech, and ends when less than the second is."""
SHORTEST_PAUSE_SECONDS = 0.2
SHORTEST_SPEECH_SECONDS = 0.15
BEFORE_SECONDS, AFTER_SECONDS = 0.2, 0.1
"""Kept on both sides: a detector hears soft first sounds late, and holds on for a while after the last."""
QUIET_FRAMES = 5
"""Over which the quietest place of a stretch that is too long is looked for."""

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Range = tuple[int, int]


def stretches(audio: Audio, longest_seconds: float = LONGEST_SECONDS) -> list[Range]:
    """Sample ranges [start, end) of speech, in order, apart, none longer than `longest_seconds`.

    Stretches are cut at pauses; one that is too long is cut at its quietest place. Nothing is found in silence.
    """
    if not len(audio.samples):
        return []
    frame = round(FRAME_SECONDS * audio.sample_rate_hz)
    shortest = round(SHORTEST_SPEECH_SECONDS / FRAME_SECONDS)
    loudness_F = _loudness(audio, frame)
    speech_F = _steady(_speech(audio, frame) & (loudness_F > ABOVE_FLOOR * _floor(loudness_F)))
    joined = _join(_runs(speech_F), round(SHORTEST_PAUSE_SECONDS / FRAME_SECONDS))
    spoken = [(start, end) for start, end in joined if end - start >= shortest]
    padded = _pad(spoken, -(-len(audio.samples) // frame))
    longest = max(int(longest_seconds / FRAME_SECONDS), 2 * QUIET_FRAMES)
    cut = (piece for whole in padded for piece in _split(whole, loudness_F, longest))
    return [(start * frame, min(end * frame, len(audio.samples))) for start, end in cut]


def _frames(audio: Audio, frame: int) -> npt.NDArray[np.int16]:
    """Samples (F, frame), the last frame filled up with silence."""
    missing = -len(audio.samples) % frame
    return np.pad(audio.samples, (0, missing)).astype(np.int16, copy=False).reshape(-1, frame)


def _speech(audio: Audio, frame: int) -> Flags:
    """Whether the detector hears speech in each frame (F,)."""
    import webrtcvad

    detector = webrtcvad.Vad(AGGRESSIVENESS)
    heard = (detector.is_speech(row.tobytes(), audio.sample_rate_hz) for row in _frames(audio, frame))
    return np.fromiter(heard, dtype=np.bool_)


def _steady(speech_F: Flags) -> Flags:
    """The flags with hysteresis: each frame keeps the last state that its surroundings were clear about."""
    share_F = np.convolve(speech_F, np.ones(WINDOW_FRAMES) / WINDOW_FRAMES, mode="full")
    share_F = share_F[WINDOW_FRAMES // 2 :][: len(speech_F)]
    clear_F = (share_F >= BEGIN_SHARE) | (share_F <= END_SHARE)
    last_F = np.maximum.accumulate(np.where(clear_F, np.arange(len(speech_F)), -1))
    return (last_F >= 0) & (share_F[np.maximum(last_F, 0)] >= BEGIN_SHARE)


def _runs(flags_F: Flags) -> list[Range]:
    """The ranges in which the flag is set."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags_F, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _join(ranges: Iterable[Range], shortest_pause: int) -> list[Range]:
    """The ranges, those with less than `shortest_pause` between them as one."""
    joined: list[Range] = []
    for start, end in ranges:
        if joined and start - joined[-1][1] < shortest_pause:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _pad(ranges: list[Range], total: int) -> list[Range]:
    """The ranges widened on both sides, at most to the middle of the pause between two."""
    before, after = round(BEFORE_SECONDS / FRAME_SECONDS), round(AFTER_SECONDS / FRAME_SECONDS)
    if not ranges:
        return []
    middles = [(left[1] + right[0]) // 2 for left, right in itertools.pairwise(ranges)]
    lows, highs = [0, *middles], [*middles, total]
    return [
        (max(start - before, low), min(end + after, high))
        for (start, end), low, high in zip(ranges, lows, highs, strict=True)
    ]


def _loudness(audio: Audio, frame: int) -> Floats:
    """Mean square (F,), smoothed over the frames around."""
    power_F = (_frames(audio, frame).astype(np.float32) ** 2).mean(axis=1)
    return np.convolve(power_F, np.ones(QUIET_FRAMES), mode="same")[: len(power_F)].astype(np.float64)


def _floor(loudness_F: Floats) -> Floats:
    """The loudness that the quietest frames of each half minute reach (F,)."""
    blocks = np.array_split(loudness_F, max(1, round(len(loudness_F) * FRAME_SECONDS / FLOOR_SECONDS)))
    return np.concatenate([np.full(len(block_F), np.quantile(block_F, FLOOR_SHARE)) for block_F in blocks])


def _split(whole: Range, loudness_F: Floats, longest: int) -> Iterator[Range]:
    """Pieces of at most `longest` frames, cut where it is quietest, none of them a mere scrap."""
    start, end = whole
    while end - start > longest:
        low, high = start + longest // 3, min(start + longest, end - longest // 6)
        cut = low + int(np.argmin(loudness_F[low : high + 1]))
        yield start, cut
        start = cut
    yield start, end
