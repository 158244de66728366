"""Recordings as people send them, to `Audio`: libsndfile decodes, soxr resamples, the content decides what it is.

Legend: T samples, C channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hotline import audio_kinds
from hotline.audio import TELEPHONE_HZ, WIDEBAND_HZ, Audio
from hotline.errors import InputError, TooLarge

KINDS = "wav (PCM, µ-law, A-law, ADPCM, GSM), flac, ogg (opus, vorbis), mp3, aiff, au, caf"
LOWEST_HZ, HIGHEST_HZ = 8_000, 384_000
_BLOCK_FRAMES = 1 << 18
_EXACT = {"PCM_16", "ULAW", "ALAW", "PCM_U8", "PCM_S8"}
"""Encodings that are 16-bit samples: nothing is rounded when the rate stays."""
_FULL_SCALE = 32_768
_LOST_FRAMES = 576
"""An MP3 that ends more than a short frame before its own header says was cut; less is padding."""


@dataclass(frozen=True)
class Limits:
    """What a recording may be at most."""

    seconds: float = 4 * 3600
    channels: int = 2
    bytes: int = 4 << 30


def decode(content: bytes, name: str = "audio", limits: Limits = Limits()) -> tuple[Audio, ...]:
    """One Audio per channel, at 8,000 Hz when the source is below 16,000 Hz, else at 16,000 Hz.

    The content decides what it is, not the name. Raises InputError for what is empty, truncated, encrypted, no audio,
    a video, below 8,000 Hz or of more channels than `limits`, and TooLarge for what is longer; each names what was
    found.
    """
    found = _kind(content, name, limits)
    with _opened(content, name, found) as stream:
        _check(stream, name, limits)
        rate = WIDEBAND_HZ if stream.samplerate >= WIDEBAND_HZ else TELEPHONE_HZ
        samples_TC = _samples(stream, rate, name, found, limits)
    return tuple(Audio(np.ascontiguousarray(samples_T), rate) for samples_T in samples_TC.T)


def _kind(content: bytes, name: str, limits: Limits) -> str:
    """What the content is, when it can be sound."""
    if not content:
        raise InputError("the audio file is empty", where=name, found="0 bytes", next="fetch it again")
    if len(content) > limits.bytes:
        raise TooLarge(
            "the audio file is too large",
            where=name,
            found=f"{len(content):,} bytes",
            expected=f"at most {limits.bytes:,}",
        )
    found = audio_kinds.kind(content)
    if found in audio_kinds.VIDEO or (found == "Ogg" and not audio_kinds.has_sound(content, found)):
        raise _video(name, found, audio_kinds.has_sound(content, found))
    if found == "encrypted":
        raise InputError(
            "the audio file looks encrypted",
            where=name,
            found="bytes without structure or the mark of an encrypted file",
            expected=KINDS,
            next="decrypt it, then send it again",
        )
    if found not in audio_kinds.SUFFIXES:
        raise _not_audio(name, f"a {found} file" if found == "text" else found)
    if found == "WAV":
        _check_wav(content, name)
    if found == "Ogg" and audio_kinds.ogg_ends_early(content):
        raise _truncated(name, "a last page that is not whole")
    return found


def _video(name: str, found: str, sound: bool) -> InputError:
    return InputError(
        "a recording inside a video or mobile container" if sound else "a video without a sound track",
        where=name,
        found=found,
        expected=KINDS,
        next=f"ffmpeg -i {name} -vn call.flac" if sound else "send the recording of the call",
    )


def _not_audio(name: str, found: object) -> InputError:
    return InputError("not an audio file that can be decoded", where=name, found=found, expected=KINDS)


def _truncated(name: str, found: str, expected: str | None = None) -> InputError:
    return InputError(
        "the audio file is truncated", where=name, found=found, expected=expected, next="fetch it again, whole"
    )


def _check_wav(content: bytes, name: str) -> None:
    header = audio_kinds.wav_header(content)
    if header is None:
        raise _truncated(name, "a header without samples")
    if header.sample_rate_hz == 0:
        raise _rate(name, 0)
    if header.channels == 0:
        raise InputError("the audio file has no channel", where=name, found="0 channels", expected="1 or 2")
    if header.missing_bytes:
        raise _truncated(name, f"{len(content):,} bytes", f"{len(content) + header.missing_bytes:,} by its header")


def _rate(name: str, found: int) -> InputError:
    return InputError(
        "the sample rate cannot be used",
        where=name,
        found=f"{found:,} Hz",
        expected=f"{LOWEST_HZ:,} to {HIGHEST_HZ:,} Hz",
    )


def _opened(content: bytes, name: str, found: str) -> Any:
    """The file, opened by libsndfile, which says little about what it refuses."""
    import soundfile

    try:
        return soundfile.SoundFile(io.BytesIO(content))
    except (soundfile.LibsndfileError, TypeError) as error:
        raise InputError(
            "the audio file cannot be decoded: it is truncated, corrupt or of an unknown encoding",
            where=name,
            found=f"{found}, {len(content):,} bytes",
            expected=KINDS,
            next="fetch it again, or convert it to flac",
        ) from error


def _check(stream: Any, name: str, limits: Limits) -> None:
    if not LOWEST_HZ <= stream.samplerate <= HIGHEST_HZ:
        raise _rate(name, stream.samplerate)
    if stream.channels > limits.channels:
        raise InputError(
            "too many channels", where=name, found=f"{stream.channels} channels", expected=f"at most {limits.channels}"
        )
    if stream.seekable():  # else the header does not say
        _check_length(stream.frames / stream.samplerate, name, limits)


def _check_length(seconds: float, name: str, limits: Limits) -> None:
    if seconds > limits.seconds:
        raise TooLarge(
            "the recording is too long",
            where=name,
            found=f"{seconds:,.0f} s",
            expected=f"at most {limits.seconds:,.0f} s",
            next="cut it at a pause",
        )


def _samples(stream: Any, rate: int, name: str, found: str, limits: Limits) -> npt.NDArray[np.int16]:
    """(T, C) at that rate, a block at a time."""
    import soundfile

    exact = stream.samplerate == rate and stream.subtype in _EXACT
    read = 0
    pieces: list[npt.NDArray[np.int16]] = []
    change = None if stream.samplerate == rate else _resampler(stream, rate)
    try:
        for block_TC in _blocks(stream, "int16" if exact else "float32"):
            read += len(block_TC)
            _check_length(read / stream.samplerate, name, limits)
            pieces.append(block_TC if exact else _as_int16(change(block_TC, False) if change else block_TC, name))
    except soundfile.LibsndfileError as error:
        raise _truncated(name, f"{found} that breaks off after {read / stream.samplerate:.2f} s: {error}") from error
    if found == "MP3" and read < stream.frames - _LOST_FRAMES:
        raise _truncated(name, f"{read:,} samples", f"{stream.frames:,} by its header")
    if not read:
        raise InputError("the audio file has no samples", where=name, found=f"{found}, 0 s", next="fetch it again")
    if change:
        pieces.append(_as_int16(change(np.zeros((0, stream.channels), np.float32), True), name))
    return np.concatenate(pieces)


def _blocks(stream: Any, kind: str) -> Iterator[Any]:
    while len(block_TC := stream.read(_BLOCK_FRAMES, dtype=kind, always_2d=True)):
        yield block_TC


def _resampler(stream: Any, rate: int) -> Any:
    import soxr

    return soxr.ResampleStream(stream.samplerate, rate, stream.channels, dtype="float32").resample_chunk


def _as_int16(block_TC: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.int16]:
    if not np.isfinite(block_TC).all():
        raise InputError("the audio file has samples that are no numbers", where=name, found="NaN or infinity")
    scaled_TC = np.rint(block_TC * _FULL_SCALE)
    return np.clip(scaled_TC, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
