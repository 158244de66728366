"""What a figure is held against: TF-IDF on the same rows, and the same model with the inputs of other rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from data.store import open_snapshot
from evaluation import baseline
from hotline import families, registry
from hotline.errors import InputError
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Target
from hotline.tasks import find
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK
from hotline.tasks.tickets.ticket_category import TicketText


class Free(Target):
    """A target without a label."""

    text: str


def worded(rows: Any) -> Any:
    """Rows whose texts say their label."""
    texts = [f"{target.label} 請處理 {number % 7}" for number, target in enumerate(rows.targets)]
    return replace(rows, inputs=[TicketText(text=text) for text in texts])


def test_tfidf_learns_what_words_say(table: Any) -> None:
    scores = baseline.tfidf_scores(TASK, worded(table(200)), worded(table(40, first=200)))
    assert set(scores) == set(TASK.scores)
    assert scores["accuracy"] == scores["top3_accuracy"] == 1


def test_tfidf_answers_with_its_two_next_best_labels_in_order(table: Any) -> None:
    answers = baseline.tfidf_answers(TASK, worded(table(200)), worded(table(8, first=200)))
    for answer in answers:
        shares = [answer.confidence, *(share for _, share in answer.alternatives)]
        assert len(shares) == 3 and shares == sorted(shares, reverse=True) and math.fsum(shares) <= 1 + 1e-9


def test_a_task_without_labels_has_no_such_baseline(table: Any) -> None:
    with pytest.raises(InputError, match="no labels"):
        baseline.tfidf_scores(replace(TASK, target=Free), table(4), table(4))


def test_a_model_given_the_inputs_of_other_rows_is_near_chance(workspace: Settings, candidate: ModelAddress) -> None:
    rows = open_snapshot(workspace, TASK).rows("test")
    family = families.find(TASK.family)
    folder = registry.fetch(registry.connect(workspace.tracking_uri), candidate, workspace.verified)
    model = family.load(folder, TASK)
    own = TASK.scores["accuracy"](rows.targets, families.answer(family, model, rows.inputs))
    control = baseline.shuffled_control(TASK, family, model, rows, seed=1)
    labels = [target.label for target in rows.targets]  # type: ignore[attr-defined]
    most = max(labels.count(label) for label in set(labels)) / len(labels)
    assert control["accuracy"] < most + 0.1 < own


def test_the_lead_sentence_of_a_ticket_is_an_answer_as_long_as_a_title_may_be() -> None:
    task = find("ticket_summary")
    texts = ("您好，路灯坏了。请修。", "？没有句号的一句话", "长" * 500)
    said = baseline.lead_answers("text", task, [task.input.model_validate({"text": text}) for text in texts])
    assert [answer.target.text for answer in said] == ["您好，路灯坏了", "？没有句号的一句话", "长" * 120]  # type: ignore[attr-defined]
