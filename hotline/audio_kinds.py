"""What a file holds, by its first bytes: its name is not asked.

Sources: RIFF (Microsoft, 1991), RFC 3533 (Ogg), RFC 9639 (FLAC), ISO 14496-12 (MP4), RFC 9559 (Matroska).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

SUFFIXES = {
    "WAV": (".wav", ".wave"),
    "FLAC": (".flac",),
    "Ogg": (".ogg", ".oga", ".opus", ".spx"),
    "MP3": (".mp3", ".mpga"),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "AU": (".au", ".snd"),
    "CAF": (".caf",),
    "W64": (".w64",),
    "NIST": (".sph", ".nist", ".wav"),
}
"""Kinds that can be decoded, and the names that promise them."""
AUDIO_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
OTHER_SUFFIXES = frozenset((".m4a", ".aac", ".mp4", ".amr", ".wma", ".webm", ".mkv", ".mka", ".mov", ".avi", ".3gp"))
"""Names of recordings in formats that cannot be decoded: refused one by one, not overlooked."""
_MAGIC = (
    (b"fLaC", "FLAC"),
    (b"OggS", "Ogg"),
    (b"FORM", "AIFF"),
    (b".snd", "AU"),
    (b"caff", "CAF"),
    (b"riff", "W64"),
    (b"NIST_1A", "NIST"),
    (b"\x1a\x45\xdf\xa3", "Matroska"),
    (b"FLV\x01", "FLV"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF"),
    (b"#!AMR", "AMR"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"7z\xbc\xaf", "7z archive"),
    (b"Rar!", "RAR archive"),
    (b"%PDF", "PDF document"),
    (b"\x89PNG", "PNG picture"),
    (b"\xff\xd8\xff", "JPEG picture"),
    (b"<!DOCTYPE", "HTML page"),
    (b"<html", "HTML page"),
    (b"Salted__", "encrypted"),
    (b"-----BEGIN PGP", "encrypted"),
    (b"age-encryption.org", "encrypted"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "encrypted"),
)
VIDEO = {"MP4", "Matroska", "FLV", "ASF", "AVI"}
_SNIFFED_BYTES = 1 << 16
_ENCRYPTED_BITS = 7.9
"""Entropy per byte from which nothing but noise, ciphertext or compression is left; known kinds are found before."""
_SMALLEST_ENTROPY_BYTES = 1 << 12
_UNKNOWN_LENGTH = 0x7FFF0000
"""From here on a declared length is the place-holder of a writer that could not seek back."""


@dataclass(frozen=True)
class WavHeader:
    """What a RIFF header promises; `missing_bytes` of its samples are not there."""

    sample_rate_hz: int
    channels: int
    missing_bytes: int


def kind(content: bytes) -> str:
    """`WAV`, `FLAC`, `Ogg`, `MP3`…; another kind of file in words; `encrypted`; or `unknown`."""
    head = content[:64]
    if head[:4] in (b"RIFF", b"RF64", b"RIFX"):
        return {b"WAVE": "WAV", b"AVI ": "AVI"}.get(head[8:12], "unknown")
    if head[4:8] == b"ftyp":
        return "MP4"
    for magic, name in _MAGIC:
        if head.lower().startswith(magic.lower()) if magic.startswith(b"<") else head.startswith(magic):
            return name
    if head.startswith(b"ID3") or _is_mpeg_frame(head):
        return "MP3"
    return _without_magic(content)


def _is_mpeg_frame(head: bytes) -> bool:
    """Sync bits, and neither a reserved version or layer nor a reserved bit rate or sample rate."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    return head[1] & 0x18 != 0x08 and head[1] & 0x06 != 0 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C


def _without_magic(content: bytes) -> str:
    sample = np.frombuffer(content[:_SNIFFED_BYTES], np.uint8)
    if len(sample) >= _SMALLEST_ENTROPY_BYTES and _entropy_bits(sample) > _ENCRYPTED_BITS:
        return "encrypted"
    try:
        text = content[:512].decode("utf-8", errors="strict" if len(content) <= 512 else "ignore")
    except UnicodeDecodeError:
        return "unknown"
    return "text" if text and not re.search(r"[\x00-\x08\x0e-\x1f]", text) else "unknown"


def _entropy_bits(sample: np.ndarray) -> float:
    shares = np.bincount(sample, minlength=256) / len(sample)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def fits(name: str, found: str) -> bool:
    """Whether a file called `name` promises that kind; a name without a suffix promises nothing."""
    suffix = PurePath(name).suffix.lower()
    return suffix not in AUDIO_SUFFIXES | OTHER_SUFFIXES or suffix in SUFFIXES.get(found, ())


def has_sound(content: bytes, found: str) -> bool:
    """Whether a video container has a sound track: by the marks of its track list, without parsing all of it."""
    if found == "MP4":
        return b"soun" in content
    if found == "Matroska":
        return any(mark in content for mark in (b"A_OPUS", b"A_VORBIS", b"A_AAC", b"A_MPEG", b"A_PCM", b"A_FLAC"))
    if found == "AVI":
        return b"auds" in content[:_SNIFFED_BYTES]
    if found == "FLV":
        return bool(content[4:5] and content[4] & 4)
    if found == "Ogg":
        return any(mark in content[:_SNIFFED_BYTES] for mark in (b"OpusHead", b"\x01vorbis", b"Speex   ", b"\x7fFLAC"))
    return True


def wav_header(content: bytes) -> WavHeader | None:
    """The header of a WAV file; None where its chunks do not lead to samples."""
    order, position, found = ">" if content[:4] == b"RIFX" else "<", 12, (1, 1)
    while position + 8 <= len(content):
        name, size = content[position : position + 4], struct.unpack_from(order + "I", content, position + 4)[0]
        if name == b"fmt " and position + 16 <= len(content):
            channels, rate = struct.unpack_from(order + "HI", content, position + 10)
            found = (rate, channels)
        if name == b"data":
            missing = position + 8 + size - len(content) if size < _UNKNOWN_LENGTH else 0
            return WavHeader(*found, max(0, missing))
        position += 8 + size + size % 2
    return None


def ogg_ends_early(content: bytes) -> bool:
    """Whether the last page of an Ogg stream is not all there."""
    start = content.rfind(b"OggS")
    if start < 0 or start + 27 > len(content):
        return True
    segments = content[start + 26]
    table = content[start + 27 : start + 27 + segments]
    return len(table) < segments or start + 27 + segments + sum(table) > len(content)
