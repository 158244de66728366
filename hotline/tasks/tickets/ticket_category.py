"""Ticket → category: the path of a citizen's ticket in the hotline's tree of matters (工單事項分類預測)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hotline.label_scores import level1_accuracy, level2_accuracy, top3_accuracy
from hotline.probability_scores import brier
from hotline.prompts import Prompt
from hotline.scores import accuracy, ece, macro_f1
from hotline.task import Bar, FromTree, Input, Target, Task

MAX_CHARACTERS = 20_000


class TicketText(Input):
    text: Annotated[str, Field(min_length=2, max_length=MAX_CHARACTERS, description="The ticket as the caller told it")]


class Category(Target):
    label: Annotated[str, FromTree(), Field(min_length=1, max_length=300, description="Path in the label tree, a/b/c")]


TICKET_CATEGORY = Task(
    name="ticket_category",
    summary=__doc__,
    family="classifier",
    input=TicketText,
    target=Category,
    split_by=("caller_id",),
    slices=("region", "channel"),
    scores={
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "top3_accuracy": top3_accuracy,
        "level1_accuracy": level1_accuracy,
        "level2_accuracy": level2_accuracy,
        "ece": ece,
        "brier": brier,
    },
    targets={"macro_f1": 0.95},
    bars={
        "production": (
            Bar("macro_f1", at_least=0.82),
            Bar("accuracy", at_least=0.70, slice="region"),
            Bar("macro_f1", not_worse_than_champion_by=0.01),
            Bar("accuracy", not_worse_than_champion_by=0.05, slice="region"),
        ),
        "demo": (
            Bar("macro_f1", at_least=0.90),
            Bar("accuracy", at_least=0.80, slice="region"),
            Bar("accuracy", not_worse_than_champion_by=0.03),
            Bar("accuracy", not_worse_than_champion_by=0.08, slice="region"),
        ),
    },
    prompt=Prompt(user="{text}\n\n以上诉求属于哪一类？只写类别的完整路径："),
    examples=({"text": "小区门口的路灯坏了三天，晚上一片漆黑，老人出门很不安全，请尽快派人维修。"},),
)
