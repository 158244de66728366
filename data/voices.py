"""Text → speech by espeak-ng, whose library and voices come with the package espeakng-loader.

The library is loaded when somebody first speaks. It is not thread-safe: one thread of a process speaks. The sound
depends on what the process said before (flutter and noise run on), so a reproducible corpus is spoken in a fresh
process, in a fixed order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from hotline.audio import Samples
from hotline.errors import InputError, UnavailableError

SYNCHRONOUS, NO_EXIT, UTF8 = 2, 0x8000, 1
WORD, CLAUSE_END = 1, 5
RATE, PITCH = 1, 3
"""espeak-ng's numbers (speak_lib.h): an audio mode, an initialisation flag, a text encoding, events, parameters."""


class Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("character", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


@dataclass(frozen=True)
class Mark:
    """Where a word begins, by the number of its first character, or where a clause ends (no character)."""

    seconds: float
    character: int | None


@dataclass(frozen=True)
class Voice:
    """A language's voice (`yue`, `gmw/en`), its timbre (`f2`), pitch (0–99) and rate in words a minute (80–450)."""

    language: str
    variant: str = "m1"
    pitch: int = 50
    rate: int = 175

    @property
    def name(self) -> str:
        return f"{self.language}+{self.variant}"


def package(name: str) -> Any:
    """A package of the demo's extra. Raises UnavailableError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as missing:
        raise UnavailableError(
            "generated calls have no voice here",
            found=f"the package {name.replace('_', '-')} is not installed",
            next="pip install 'hotline[demo]'",
        ) from missing


class Speech:
    """The loaded library."""

    def __init__(self) -> None:
        espeakng_loader = package("espeakng_loader")
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate_hz = int(self._library.espeak_Initialize(SYNCHRONOUS, 0, data, NO_EXIT))
        if self.sample_rate_hz <= 0:
            raise UnavailableError("espeak-ng does not start", where=data.decode(), found=self.sample_rate_hz)
        self._chunks: list[Samples] = []
        self._events: list[tuple[int, int, int]] = []
        self._callback = _receiver(self._chunks, self._events)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p

    def _choose(self, name: str) -> None:
        if self._library.espeak_SetVoiceByName(name.encode()):
            raise InputError("espeak-ng has no such voice", found=name)

    def say(self, text: str, voice: Voice) -> Samples:
        """The text as that voice says it: int16 (T,) at `sample_rate_hz`. Raises InputError on an unknown voice."""
        self._choose(voice.name)
        self._library.espeak_SetParameter(RATE, voice.rate, 0)
        self._library.espeak_SetParameter(PITCH, voice.pitch, 0)
        self._chunks.clear()
        self._events.clear()
        content = text.encode()
        self._library.espeak_Synth(content, ctypes.c_size_t(len(content) + 1), 0, 0, 0, UTF8, None, None)
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)

    def marks(self) -> list[Mark]:
        """Where the words of what was said last begin, and where its clauses end, in order of time."""
        return [
            Mark(sample / self.sample_rate_hz, character - 1 if kind == WORD else None)
            for kind, character, sample in self._events
            if kind in (WORD, CLAUSE_END)
        ]

    def phonemes(self, text: str, language: str) -> str:
        """What the voice of that language makes of the text, in espeak-ng's notation; clauses are divided by ` | `."""
        self._choose(language)
        rest = ctypes.c_char_p(text.encode())
        clauses = []
        while rest.value is not None:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(rest), UTF8, 0)
            clauses.append((clause or b"").decode().strip())
        return " | ".join(clause for clause in clauses if clause)


def _receiver(chunks: list[Samples], events: list[tuple[int, int, int]]) -> Callable[..., int]:
    """espeak-ng's callback that keeps what it is given; a chunk is only lent, so it is copied."""

    def receive(wave: ctypes._Pointer[ctypes.c_short] | None, count: int, told: ctypes._Pointer[Event] | None) -> int:
        if wave and count:
            chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        number = 0
        while told and told[number].type:  # until the end of the list
            events.append((told[number].type, told[number].character, told[number].sample))
            number += 1
        return 0

    signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    return signature(receive)


@cache
def speech() -> Speech:
    """The library, loaded once a process. Raises UnavailableError where its package is not installed."""
    return Speech()
