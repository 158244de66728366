"""Call audio → text: what was said in a dialect, with punctuation and the dialect it was said in (方言語音識別)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hotline.audio import Audio, tone
from hotline.dialects import UNKNOWN
from hotline.entity_scores import BY_KIND, entity_cer
from hotline.spoken_scores import cer, deletions, insertions, mer, substitutions, utterance_cer, wer
from hotline.task import Bar, FromProvenance, Input, Name, Part, Target, Task

MAX_CHARACTERS = 1_000_000
Seconds = Annotated[float, Field(ge=0)]


class CallAudio(Input):
    audio: Annotated[Audio, Field(description="The recording: one channel of a call")]


class Segment(Part):
    """A stretch of speech between two pauses."""

    start_seconds: Seconds
    end_seconds: Seconds
    text: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    channel: Annotated[int, Field(ge=0, description="Of the recording, from 0")] = 0


class Entity(Part):
    """Characters [start, end) of the text that name something: place, department, number."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]
    kind: Name


class Transcript(Target):
    text: Annotated[str, Field(max_length=MAX_CHARACTERS, description="What was said, with punctuation")]
    dialect: Annotated[str, FromProvenance("dialect"), Field(description="Tag of the dialect registry")] = UNKNOWN
    segments: Annotated[tuple[Segment, ...], Field(description="The text by stretches of speech")] = ()
    entities: Annotated[tuple[Entity, ...], Field(description="Names and numbers in a reference text")] = ()


LENGTHS = ((2.0, "0–2 s"), (5.0, "2–5 s"), (15.0, "5–15 s"))


def length(input: CallAudio) -> str:
    """How long the recording is, in four steps."""
    return next((name for seconds, name in LENGTHS if input.audio.seconds < seconds), "over 15 s")


TRANSCRIPTION = Task(
    name="transcription",
    summary=__doc__,
    family="transcriber",
    input=CallAudio,
    target=Transcript,
    split_by=("caller_id",),
    slices=("dialect", "channel"),
    derived_slices={"length": length},
    scores={
        "cer": cer,
        "utterance_cer": utterance_cer,
        "substitutions": substitutions,
        "deletions": deletions,
        "insertions": insertions,
        "entity_cer": entity_cer,
        **BY_KIND,
        "mer": mer,
        "wer": wer,
    },
    targets={"cer": 0.08},
    bars={
        "production": (
            Bar("cer", at_most=0.15),
            Bar("cer", at_most=0.25, slice="dialect"),
            Bar("cer", not_worse_than_champion_by=0.005),
            Bar("cer", not_worse_than_champion_by=0.008, slice="dialect"),
        ),
        "demo": (
            Bar("cer", at_most=0.15),
            Bar("cer", at_most=0.25, slice="dialect"),
            Bar("cer", not_worse_than_champion_by=0.02),
            Bar("cer", not_worse_than_champion_by=0.04, slice="dialect"),
        ),
    },
    examples=({"audio": tone()},),
)
