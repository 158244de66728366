"""A whole table through the endpoint: in order, and nothing is lost."""

from __future__ import annotations

import pytest

from hotline.errors import UnavailableError, UnknownName
from serving.client import predict

TASK = "ticket_category"


def test_answers_come_back_in_order_and_errors_keep_their_place(endpoint: str) -> None:
    rows = [{"text": f"路灯坏了 {n}"} if n % 10 else {"text": ""} for n in range(100)]
    answers = list(predict(endpoint, TASK, iter(rows), concurrency=16))
    assert len(answers) == len(rows)
    for number, answer in enumerate(answers):
        assert ("error" in answer) == (number % 10 == 0)
    assert answers[0]["error"]["where"] == "body.text"
    assert len({answer["id"] for answer in answers if "id" in answer}) == 90


def test_a_table_may_be_left_in_the_middle(endpoint: str) -> None:
    answers = predict(endpoint, TASK, ({"text": f"路灯坏了 {n}"} for n in range(1000)), concurrency=4)
    assert "answer" in next(answers)
    answers.close()  # type: ignore[attr-defined]


def test_no_rows_give_no_answers(endpoint: str) -> None:
    assert list(predict(endpoint, TASK, [])) == []


def test_a_task_that_is_not_declared_there_is_said_before_the_first_row(endpoint: str) -> None:
    with pytest.raises(UnknownName, match="weather"):
        next(predict(endpoint, "weather", [{"text": "ab"}]))


def test_where_nobody_answers_the_next_command_is_named(free_port: int) -> None:
    with pytest.raises(UnavailableError) as caught:
        next(predict(f"http://127.0.0.1:{free_port}", TASK, [{"text": "ab"}]))
    assert caught.value.next == "hotline serve"
