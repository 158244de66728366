"""Every promise the platform makes, one module each. `TASKS` is the list that everything else is generated from."""

from __future__ import annotations

from collections.abc import Mapping

from hotline.errors import UnknownName
from hotline.task import Task
from hotline.tasks.inspection.review_label import REVIEW_LABEL
from hotline.tasks.knowledge.article_answer import ARTICLE_ANSWER
from hotline.tasks.knowledge.faq_match import FAQ_MATCH
from hotline.tasks.speech.dialect_identification import DIALECT_IDENTIFICATION
from hotline.tasks.speech.transcription import TRANSCRIPTION
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY
from hotline.tasks.tickets.ticket_summary import TICKET_SUMMARY

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        TRANSCRIPTION,
        DIALECT_IDENTIFICATION,
        TICKET_CATEGORY,
        TICKET_SUMMARY,
        ARTICLE_ANSWER,
        FAQ_MATCH,
        REVIEW_LABEL,
    )
}


def find(name: str) -> Task:
    """The task of that name; raises UnknownName with the names there are."""
    if name not in TASKS:
        raise UnknownName(f"no task named {name!r}", expected="one of " + ", ".join(TASKS), next="hotline tasks")
    return TASKS[name]
