"""Many texts at once are written exactly as they are one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline import scored_texts
from hotline.scored_texts import scored_all, scored_words_all
from hotline.text import scored, scored_words

mixed = st.text(
    st.sampled_from("我要投诉嘅係個關於頭髮乾隆燥發，。！？、 　ab'’Ｈ３3%.:\n\t\r\x00\x1c\x85\u2028幺零ΣσİK①½Ⅷ가~`٣"),
    max_size=12,
)
any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(mixed | any_text, max_size=12))
def test_many_texts_are_written_as_each_by_itself(texts: list[str]) -> None:
    assert scored_words_all(texts) == [scored_words(text) for text in texts]
    assert scored_all(texts) == [scored(text) for text in texts]


def test_texts_keep_their_places_over_several_line_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scored_texts, "CHUNK", 3)
    texts = ["路燈", "", "2026年\n30%", "。", "a  b", "係\n咁", "乾隆"]
    assert scored_all(texts) == [scored(text) for text in texts]


@pytest.mark.parametrize("nothing", [[], [""], ["", ""], ["。"]])
def test_no_text_and_empty_texts_are_nothing(nothing: list[str]) -> None:
    assert scored_all(nothing) == [""] * len(nothing)
