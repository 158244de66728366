"""The training rows that are nearest to what was asked."""

from __future__ import annotations

from typing import Any

from data.snapshot import Rows
from hotline.audio import tone
from hotline.task import Task
from hotline.tasks import find
from pipelines.nearest import NEAREST, nearest, words

TICKETS, SPEECH = find("ticket_category"), find("transcription")
TEXTS = ("小区门口的路灯坏了三天", "井盖丢了没人管", "路灯不亮", "公交车晚点", "半夜施工噪音大", "学校食堂不干净")


def rows(task: Task, inputs: list[Any], targets: list[Any]) -> Rows:
    ids = [f"row-{n}" for n in range(len(inputs))]
    return Rows(ids, inputs, targets, {"label_batch": ["batch-1"] * len(ids)}, ids, ["train"] * len(ids))


def test_the_rows_with_the_most_alike_words_come_first() -> None:
    inputs = [TICKETS.input.model_validate({"text": text}) for text in TEXTS]
    targets = [TICKETS.target.model_validate({"label": f"城市/{n}"}) for n in range(len(TEXTS))]
    found = nearest(TICKETS, rows(TICKETS, inputs, targets), "我们小区路灯坏了")
    assert len(found) == NEAREST
    assert found[0]["id"] == "row-0"
    assert found[0]["target"] == {"label": "城市/0"}
    assert [each["likeness"] for each in found] == sorted((each["likeness"] for each in found), reverse=True)
    assert found[-1]["likeness"] == 0


def test_of_recordings_the_transcripts_are_compared() -> None:
    question = SPEECH.input.model_validate({"audio": tone()})
    target = SPEECH.target.model_validate({"text": "路灯坏了", "dialect": "cmn"})
    assert words(SPEECH, question, target) == "路灯坏了"


def test_recordings_without_transcripts_are_near_to_nothing() -> None:
    task = find("dialect_identification")
    inputs = [task.input.model_validate({"audio": tone()})]
    assert nearest(task, rows(task, inputs, [task.target.model_validate({"label": "cmn"})]), "路灯") == []
