"""Sound: one channel of 16-bit PCM, the type that rows, families and endpoints share.

Legend: T samples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

TELEPHONE_HZ, WIDEBAND_HZ = 8_000, 16_000
"""The two rates that are stored: narrowband telephony, and everything that was recorded better."""

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Audio:
    """One channel of sound: int16 samples (T,). They may be a view of a mapped file, read when they are used."""

    samples: Samples
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate_hz

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rate and the samples: the same sound has the same digest wherever it came from."""
        hasher = hashlib.sha256(f"pcm_s16le {self.sample_rate_hz}\n".encode())
        hasher.update(np.ascontiguousarray(self.samples).astype("<i2", copy=False).data)
        return hasher.hexdigest()

    def at(self, sample_rate_hz: int) -> Audio:
        """The same sound at another rate."""
        if sample_rate_hz == self.sample_rate_hz:
            return self
        import soxr

        return Audio(soxr.resample(self.samples, self.sample_rate_hz, sample_rate_hz), sample_rate_hz)

    def cut(self, start: int, end: int) -> Audio:
        """Samples [start, end)."""
        return Audio(self.samples[start:end], self.sample_rate_hz)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Audio) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Audio({self.seconds:.2f} s at {self.sample_rate_hz} Hz)"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """In Python an Audio, in JSON its digest."""
        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(lambda a: a.digest, when_used="json")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "binary", "description": "An audio file: wav, mp3, ogg/opus or flac"}


def tone(seconds: float = 1.0, hertz: float = 440.0, sample_rate_hz: int = TELEPHONE_HZ) -> Audio:
    """A plain tone, for warming up and for tests."""
    phase_T = 2 * np.pi * hertz * np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    return Audio((8000 * np.sin(phase_T)).astype(np.int16), sample_rate_hz)
