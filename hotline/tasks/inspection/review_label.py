"""Content → review label: what callers and agents write, harmless or which violation (審核標籤預測、內容安全審核)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hotline.label_scores import level1_accuracy, over_flagging, violation_recall
from hotline.scores import accuracy, ece, macro_f1
from hotline.task import Bar, FromTree, Input, Target, Task

MAX_CHARACTERS = 20_000
HARMLESS = ("正常",)


class Content(Input):
    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS, description="As a caller or an agent wrote it")]


class ReviewLabel(Target):
    label: Annotated[str, FromTree(), Field(min_length=1, max_length=300, description="Path in the label tree, a/b")]


REVIEW_LABEL = Task(
    name="review_label",
    summary=__doc__,
    family="classifier",
    input=Content,
    target=ReviewLabel,
    harmless=HARMLESS,
    split_by=("caller_id",),
    slices=("region", "channel"),
    scores={
        "macro_f1": macro_f1,
        "accuracy": accuracy,
        "level1_accuracy": level1_accuracy,
        "violation_recall": violation_recall(HARMLESS),
        "over_flagging": over_flagging(HARMLESS),
        "ece": ece,
    },
    targets={"violation_recall": 0.99, "over_flagging": 0.01},
    bars={
        "production": (
            Bar("violation_recall", at_least=0.95),
            Bar("over_flagging", at_most=0.05),
            Bar("macro_f1", at_least=0.80),
            Bar("violation_recall", at_least=0.90, slice="channel"),
            Bar("over_flagging", at_most=0.08, slice="channel"),
            Bar("violation_recall", not_worse_than_champion_by=0.01),
            Bar("over_flagging", not_worse_than_champion_by=0.01),
        ),
        "demo": (
            Bar("violation_recall", at_least=0.85),
            Bar("over_flagging", at_most=0.20),
            Bar("macro_f1", at_least=0.80),
            Bar("violation_recall", at_least=0.80, slice="channel"),
            Bar("over_flagging", at_most=0.30, slice="channel"),
            Bar("violation_recall", not_worse_than_champion_by=0.03),
            Bar("over_flagging", not_worse_than_champion_by=0.03),
        ),
    },
    examples=({"text": "你们物业太不负责任了，电梯坏了一个星期没人修，请尽快处理！"},),
)
