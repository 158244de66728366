"""Recordings as people send them: every usual encoding is sound, everything else is refused saying what was found."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hotline.audio_files import Limits, decode
from hotline.audio_kinds import fits, kind
from hotline.errors import InputError, TooLarge

SECONDS = 1.5


def encoded(form: str, subtype: str, rate: int = 16_000, channels: int = 1, seconds: float = SECONDS) -> bytes:
    """A different tone per channel, 300 Hz and upwards, in that encoding."""
    time_T = np.arange(int(seconds * rate)) / rate
    samples_TC = np.stack([0.3 * np.sin(2 * np.pi * 300 * (n + 1) * time_T) for n in range(channels)], axis=1)
    stream = io.BytesIO()
    soundfile.write(stream, samples_TC, rate, format=form, subtype=subtype)
    return stream.getvalue()


def loudest_hertz(samples_T: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples_T)).argmax() * rate / len(samples_T))


@pytest.mark.parametrize(
    ("form", "subtype", "rate", "stored_at"),
    [
        ("WAV", "PCM_16", 8_000, 8_000),
        ("WAV", "ULAW", 8_000, 8_000),
        ("WAV", "ALAW", 8_000, 8_000),
        ("WAV", "MS_ADPCM", 8_000, 8_000),
        ("WAV", "GSM610", 8_000, 8_000),
        ("WAV", "FLOAT", 48_000, 16_000),
        ("WAV", "PCM_24", 11_025, 8_000),
        ("MP3", "MPEG_LAYER_III", 24_000, 16_000),
        ("OGG", "OPUS", 48_000, 16_000),
        ("OGG", "VORBIS", 22_050, 16_000),
        ("FLAC", "PCM_16", 44_100, 16_000),
    ],
)
def test_every_usual_encoding_is_the_same_tone_at_a_stored_rate(
    form: str, subtype: str, rate: int, stored_at: int
) -> None:
    (audio,) = decode(encoded(form, subtype, rate), "call")
    assert (audio.sample_rate_hz, str(audio.samples.dtype)) == (stored_at, "int16")
    assert audio.seconds == pytest.approx(SECONDS, abs=0.06)
    assert loudest_hertz(audio.samples, stored_at) == pytest.approx(300, abs=5)


def test_the_same_file_always_has_the_same_digest() -> None:
    content = encoded("OGG", "OPUS", 48_000)
    assert decode(content)[0].digest == decode(content, "another name.wav")[0].digest


def test_samples_at_a_stored_rate_are_kept_as_they_are() -> None:
    samples_T = np.arange(-16_000, 16_000, dtype=np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, samples_T, 8_000, format="WAV", subtype="PCM_16")
    assert np.array_equal(decode(stream.getvalue())[0].samples, samples_T)


def test_two_channels_are_two_sounds_in_their_order() -> None:
    left, right = decode(encoded("WAV", "PCM_16", 44_100, channels=2))
    assert loudest_hertz(left.samples, 16_000) == pytest.approx(300, abs=5)
    assert loudest_hertz(right.samples, 16_000) == pytest.approx(600, abs=5)


def test_the_content_decides_when_the_name_says_otherwise() -> None:
    content = encoded("MP3", "MPEG_LAYER_III", 16_000)
    assert decode(content, "call.wav")[0].seconds == pytest.approx(SECONDS, abs=0.06)
    assert (kind(content), fits("call.wav", "MP3"), fits("call.mp3", "MP3")) == ("MP3", False, True)


def test_loud_float_samples_are_clipped_not_wrapped() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.full(800, 1.7), 8_000, format="WAV", subtype="FLOAT")
    assert set(decode(stream.getvalue())[0].samples.tolist()) == {32_767}


def refused(content: bytes, name: str = "call.wav", limits: Limits | None = None) -> str:
    with pytest.raises(InputError) as caught:
        decode(content, name, limits or Limits())
    assert caught.value.where == name
    return str(caught.value)


def test_an_empty_file_is_refused() -> None:
    assert "empty" in refused(b"")


def test_a_file_with_a_header_and_no_samples_is_refused() -> None:
    assert "no samples" in refused(encoded("WAV", "PCM_16", seconds=0))


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "ULAW"), ("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"), ("FLAC", "PCM_16")],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(form: str, subtype: str, share: float) -> None:
    content = encoded(form, subtype)
    assert "truncated" in refused(content[: int(share * len(content))])


def test_a_stream_whose_writer_could_not_seek_back_is_no_truncated_file() -> None:
    content = bytearray(encoded("WAV", "PCM_16"))
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert decode(bytes(content))[0].seconds == pytest.approx(SECONDS)


def test_a_file_that_looks_encrypted_is_refused_saying_so() -> None:
    noise = np.random.default_rng(0).bytes(20_000)
    assert "looks encrypted" in refused(noise)
    assert "looks encrypted" in refused(b"Salted__" + noise[:100])


def test_what_is_no_audio_is_named() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a", "b")
    assert "a text file" in refused("來電人說路燈壞了".encode())
    assert "PDF document" in refused(b"%PDF-1.7 ...")
    assert "HTML page" in refused(b"<!doctype html><title>Sign in</title>")
    assert "ZIP archive" in refused(archive.getvalue())
    assert "unknown" in refused(bytes(5_000))


MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + b"\x00\x00\x00\x20moov" + b"hdlr\x00\x00\x00\x00vide"


def test_a_video_without_sound_is_refused_as_that() -> None:
    assert "a video without a sound track" in refused(MP4, "call.mp4")
    assert "a video without a sound track" in refused(b"OggS\x00\x02" + bytes(22) + b"\x80theora" + bytes(60))


def test_sound_inside_a_video_container_comes_with_the_command_that_takes_it_out() -> None:
    assert re.search(r"ffmpeg -i call.mp4 -vn", refused(MP4 + b"hdlr\x00\x00\x00\x00soun", "call.mp4"))


def test_a_sample_rate_of_zero_is_refused() -> None:
    content = bytearray(encoded("WAV", "PCM_16"))
    content[24:28] = bytes(4)
    assert "0 Hz" in refused(bytes(content))


def test_a_rate_below_the_telephone_is_refused() -> None:
    assert "6,000 Hz" in refused(encoded("WAV", "PCM_16", 6_000))


def test_ten_hours_are_refused_before_they_are_decoded() -> None:
    content = bytearray(encoded("FLAC", "PCM_16", 8_000))
    frames = 10 * 3600 * 8_000  # the low 36 bits of bytes 18–25 of the STREAMINFO block
    place = content.index(b"fLaC") + 8 + 10
    high = struct.unpack(">Q", content[place : place + 8])[0] >> 36
    content[place : place + 8] = struct.pack(">Q", high << 36 | frames)
    with pytest.raises(TooLarge, match="36,000 s"):
        decode(bytes(content), "call.flac")


def test_a_recording_over_the_given_limits_is_refused() -> None:
    content = encoded("WAV", "PCM_16", 8_000)
    assert "at most 1 s" in refused(content, limits=Limits(seconds=1))
    assert "too large" in refused(content, limits=Limits(bytes=100))


def test_three_channels_are_refused() -> None:
    assert "3 channels" in refused(encoded("FLAC", "PCM_16", channels=3), "call.flac")


def test_samples_that_are_no_numbers_are_refused() -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.array([0.1, np.nan, 0.2]), 8_000, format="WAV", subtype="FLOAT")
    assert "NaN" in refused(stream.getvalue())


def test_the_real_encodings_of_three_data_sets_all_decode(real_data: Path) -> None:
    for name, rate in (
        ("fsdd_en_digits_8khz", 8_000),
        ("yue_syllables_48khz", 16_000),
        ("cmn_words_syllables", 16_000),
    ):
        with zipfile.ZipFile(real_data / "speech" / f"{name}.zip") as packed:
            clips = [entry for entry in packed.namelist() if entry.endswith((".wav", ".opus", ".mp3"))][::200]
            assert {decode(packed.read(clip), clip)[0].sample_rate_hz for clip in clips} == {rate}
