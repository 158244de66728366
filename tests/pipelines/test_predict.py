"""Which columns of a table fill which field of a task."""

from __future__ import annotations

from hotline.tasks import find
from pipelines.predict import fields_of


def test_columns_are_joined_in_the_first_field_or_in_the_named_one() -> None:
    assert fields_of(find("ticket_category"), ["标题", "内容"]) == {"text": ["标题", "内容"]}
    named = ["document=标题", "question=问题", "document=全文"]
    assert fields_of(find("article_answer"), named) == {"document": ["标题", "全文"], "question": ["问题"]}


def test_a_column_whose_own_name_has_an_equals_sign_is_still_a_column() -> None:
    assert fields_of(find("ticket_category"), ["x=y", "text=a=b"]) == {"text": ["x=y", "a=b"]}
