"""Answers of `POST /v1/audio/transcriptions` in the shapes of OpenAI's API, with what ours adds."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from serving.bodies import Body, Provenance
from serving.calls import Call
from serving.subtitles import speaker
from serving.timed_text import TimedSegment
from serving.transcription_form import languages

SMALLEST_PROBABILITY = 1e-6
FRAMES_PER_SECOND = 100
"""Of `seek`, which OpenAI counts in frames of 10 ms."""


class Usage(Body):
    type: Literal["duration"] = "duration"
    seconds: float


class TokenProbability(Body):
    token: str = Field(description="A piece of the text as the version heard it, before the site's way of writing")
    bytes: list[int]
    logprob: float


class Transcription(Body):
    text: str
    logprobs: list[TokenProbability] | None = None
    usage: Usage


class TranscriptionWord(Body):
    """A word; of Chinese, a character."""

    word: str
    start: float = Field(description="Seconds")
    end: float = Field(description="Seconds")


class TranscriptionSegment(Body):
    """A sentence or a stretch of speech, by OpenAI's names, with our confidence and channel."""

    id: int
    seek: int = Field(description="Start in frames of 10 ms")
    start: float = Field(description="Seconds")
    end: float = Field(description="Seconds")
    text: str
    tokens: tuple[int, ...] = Field((), description="Always empty: token ids mean nothing outside of the model")
    temperature: float = 0.0
    avg_logprob: float = Field(description="Natural logarithm of `confidence`")
    compression_ratio: float = Field(description="Bytes of the text to bytes of it compressed: large when it loops")
    no_speech_prob: float = Field(
        0.0, description="Always 0: silence is cut out of long recordings, and not looked for in short clips"
    )
    confidence: float
    channel: int = Field(description="Of the recording, from 0")


class VerboseTranscription(Body):
    """OpenAI's verbose_json, with the dialect, the confidence and where the answer comes from."""

    task: Literal["transcribe"] = "transcribe"
    language: str = Field(description="Heard: ISO 639-3")
    duration: float = Field(description="Seconds")
    text: str
    segments: list[TranscriptionSegment] | None = Field(description="Unless only words were asked for")
    words: list[TranscriptionWord] | None = Field(description="Where words were asked for")
    usage: Usage
    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    dialect: str = Field(description="Heard: a tag of the dialect registry")
    confidence: float
    provenance: Provenance


class DiarizedSegment(Body):
    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float = Field(description="Seconds")
    end: float = Field(description="Seconds")
    text: str
    speaker: str = Field(description="Of the first channel A, of the second B")


class DiarizedTranscription(Body):
    """OpenAI's diarized_json; who speaks is told by the channel, never by the voice."""

    task: Literal["transcribe"] = "transcribe"
    duration: float = Field(description="Seconds")
    text: str
    segments: list[DiarizedSegment]
    usage: Usage
    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    provenance: Provenance


def usage(seconds: float) -> Usage:
    return Usage(seconds=round(seconds, 3))


def probabilities(tokens: Iterable[tuple[str, float]]) -> list[TokenProbability]:
    """Tokens with their probabilities, as log-probabilities."""
    return [
        TokenProbability(token=text, bytes=list(text.encode()), logprob=_logarithm(share)) for text, share in tokens
    ]


def verbose(
    said: Mapping[str, Any], seconds: float, segments: Sequence[TimedSegment], wanted: Sequence[str], ours: Call
) -> VerboseTranscription:
    """`wanted`: the granularities that were asked for; none means segments."""
    words = [word for segment in segments for word in segment.words]
    return VerboseTranscription(
        language=languages()[said["answer"]["dialect"]],
        duration=round(seconds, 3),
        text=said["answer"]["text"],
        segments=[_segment(number, each) for number, each in enumerate(segments)] if wanted != ("word",) else None,
        words=[TranscriptionWord(word=w.text, start=w.start, end=w.end) for w in words] if "word" in wanted else None,
        usage=usage(seconds),
        id=ours.id,
        dialect=said["answer"]["dialect"],
        confidence=said["confidence"],
        provenance=ours.provenance,
    )


def diarized(
    said: Mapping[str, Any], seconds: float, segments: Sequence[TimedSegment], ours: Call
) -> DiarizedTranscription:
    return DiarizedTranscription(
        duration=round(seconds, 3),
        text=said["answer"]["text"],
        segments=[diarized_segment(number, each) for number, each in enumerate(segments)],
        usage=usage(seconds),
        id=ours.id,
        provenance=ours.provenance,
    )


def diarized_segment(number: int, segment: TimedSegment) -> DiarizedSegment:
    return DiarizedSegment(
        id=f"seg_{number:03}",
        start=segment.start,
        end=segment.end,
        text=segment.text,
        speaker=speaker(segment.channel),
    )


def _segment(number: int, segment: TimedSegment) -> TranscriptionSegment:
    content = segment.text.encode()
    return TranscriptionSegment(
        id=number,
        seek=round(segment.start * FRAMES_PER_SECOND),
        start=segment.start,
        end=segment.end,
        text=segment.text,
        avg_logprob=_logarithm(segment.confidence),
        compression_ratio=round(len(content) / len(zlib.compress(content)), 3),
        confidence=segment.confidence,
        channel=segment.channel,
    )


def _logarithm(probability: float) -> float:
    return math.log(max(probability, SMALLEST_PROBABILITY))
