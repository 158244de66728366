"""Ticket → title: what a message is about, in one line that names place and matter (工單標題生成)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hotline.prompts import Prompt
from hotline.task import Bar, Target, Task
from hotline.tasks.tickets.ticket_category import TicketText
from hotline.written_scores import chrf, exact_match, rouge_l

MAX_CHARACTERS = 120


class Title(Target):
    text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS, description="One line: where, and what about")]


TICKET_SUMMARY = Task(
    name="ticket_summary",
    summary=__doc__,
    family="writer",
    input=TicketText,
    target=Title,
    split_by=("caller_id",),
    slices=("region", "channel"),
    scores={"rouge_l": rouge_l, "chrf": chrf, "exact_match": exact_match},
    targets={"rouge_l": 0.55},
    bars={
        "production": (
            Bar("rouge_l", at_least=0.45),
            Bar("rouge_l", at_least=0.35, slice="region"),
            Bar("rouge_l", not_worse_than_champion_by=0.01),
        ),
        "demo": (
            Bar("rouge_l", at_least=0.60),
            Bar("rouge_l", not_worse_than_champion_by=0.03),
        ),
    },
    prompt=Prompt(user="{text}\n\n用一句话概括以上诉求，写明地点和事项："),
    examples=({"text": "小区门口的路灯坏了三天，晚上一片漆黑，老人出门很不安全，请尽快派人维修。"},),
)
