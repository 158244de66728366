"""Question → the standard question of the FAQ that it means, or 无对应条目 when it has none (常見問題匹配)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hotline.label_scores import f1_of, reciprocal_rank, top3_accuracy
from hotline.labels import NONE
from hotline.scores import accuracy, ece
from hotline.task import Bar, FromTree, Input, Target, Task

MAX_CHARACTERS = 2_000


class CallersQuestion(Input):
    question: Annotated[
        str, Field(min_length=1, max_length=MAX_CHARACTERS, description="The question as the caller put it")
    ]


class FaqEntry(Target):
    label: Annotated[
        str,
        FromTree(),
        Field(min_length=1, max_length=300, description=f"Topic/standard question of the entry, or {NONE}"),
    ]


FAQ_MATCH = Task(
    name="faq_match",
    summary=__doc__,
    family="embedder",
    input=CallersQuestion,
    target=FaqEntry,
    split_by=("caller_id",),
    slices=("region", "channel"),
    scores={
        "accuracy": accuracy,
        "mrr": reciprocal_rank(but=NONE),
        "top3_accuracy": top3_accuracy,
        "refusal_f1": f1_of(NONE, "refusal_f1"),
        "ece": ece,
    },
    targets={"accuracy": 0.90},
    bars={
        "production": (
            Bar("accuracy", at_least=0.80),
            Bar("refusal_f1", at_least=0.70),
            Bar("accuracy", at_least=0.70, slice="region"),
            Bar("accuracy", not_worse_than_champion_by=0.01),
            Bar("accuracy", not_worse_than_champion_by=0.05, slice="region"),
        ),
        "demo": (
            Bar("accuracy", at_least=0.75),
            Bar("refusal_f1", at_least=0.75),
            Bar("accuracy", not_worse_than_champion_by=0.03),
        ),
    },
    examples=({"question": "我今年四十，社保断了两年，还能补上吗？"},),
)
