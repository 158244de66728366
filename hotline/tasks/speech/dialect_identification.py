"""Call audio → the dialect that is spoken, with probabilities; `unknown` when the model cannot tell (方言識別)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hotline.audio import tone
from hotline.scores import accuracy, ece, macro_f1
from hotline.task import Bar, FromProvenance, Target, Task
from hotline.tasks.speech.transcription import TRANSCRIPTION, CallAudio


class SpokenDialect(Target):
    label: Annotated[str, FromProvenance("dialect"), Field(description="Tag of the dialect registry, or `unknown`")]


DIALECT_IDENTIFICATION = Task(
    name="dialect_identification",
    summary=__doc__,
    family="transcriber",
    corpus=TRANSCRIPTION.name,
    input=CallAudio,
    target=SpokenDialect,
    split_by=("caller_id",),
    slices=("dialect", "channel"),
    scores={"accuracy": accuracy, "macro_f1": macro_f1, "ece": ece},
    targets={"accuracy": 0.885},
    bars={
        "production": (
            Bar("accuracy", at_least=0.85),
            Bar("accuracy", at_least=0.70, slice="dialect"),
            Bar("accuracy", not_worse_than_champion_by=0.01),
            Bar("accuracy", not_worse_than_champion_by=0.05, slice="dialect"),
        ),
        "demo": (
            Bar("accuracy", at_least=0.90),
            Bar("accuracy", not_worse_than_champion_by=0.03),
            Bar("accuracy", not_worse_than_champion_by=0.10, slice="dialect"),
        ),
    },
    examples=({"audio": tone()},),
)
