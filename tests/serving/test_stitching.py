"""The answers for stretches become one answer for the recording."""

from __future__ import annotations

from typing import Any

import pytest

from hotline.tasks import find
from serving.stitching import Piece, stitch

TRANSCRIPTION, DIALECTS = find("transcription"), find("dialect_identification")


def heard(
    start: float,
    end: float,
    text: str,
    dialect: str = "cmn",
    confidence: float = 0.5,
    channel: int = 0,
    segments: Any = (),
) -> Piece:
    answer = {"text": text, "dialect": dialect, "segments": list(segments), "entities": []}
    return Piece(channel, start, end, {"answer": answer, "confidence": confidence, "alternatives": []})


def as_is(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (("你好。", "路灯坏了。"), "你好。路灯坏了。"),
        (("The lamp is broken.", "Please come."), "The lamp is broken. Please come."),
        (("我在", "Central", "搭巴士"), "我在Central搭巴士"),
        (("你好", "", "再见"), "你好再见"),
        (("", ""), ""),
    ],
)
def test_texts_join_with_a_blank_between_latin_words_only(texts: tuple[str, ...], joined: str) -> None:
    pieces = [heard(n, n + 0.5, text) for n, text in enumerate(texts)]
    assert stitch(TRANSCRIPTION, pieces, as_is)["answer"]["text"] == joined


def test_a_transcript_is_put_together_by_time_with_its_longest_heard_dialect() -> None:
    pieces = [heard(10, 14, "later", "en", 0.9), heard(0, 1, "甲", "cmn", 0.1), heard(2, 4, "乙", "yue", 0.5)]
    said = stitch(TRANSCRIPTION, pieces, as_is)
    answer = TRANSCRIPTION.target.model_validate(said["answer"])
    assert answer.text == "甲乙later"  # type: ignore[attr-defined]
    assert answer.dialect == "en"  # type: ignore[attr-defined]
    assert said["confidence"] == pytest.approx((4 * 0.9 + 0.1 + 2 * 0.5) / 7)
    assert [(each["start_seconds"], each["text"]) for each in said["answer"]["segments"]] == [
        (0, "甲"),
        (2, "乙"),
        (10, "later"),
    ]


def test_segments_of_a_stretch_move_to_the_clock_of_the_recording() -> None:
    own = {"start_seconds": 0.5, "end_seconds": 3.0, "text": "好。", "confidence": 0.4}
    said = stitch(TRANSCRIPTION, [heard(60, 62, "好。", segments=[own])], as_is)
    [segment] = said["answer"]["segments"]
    assert (segment["start_seconds"], segment["end_seconds"], segment["confidence"]) == (60.5, 62.0, 0.4)


def test_two_channels_keep_their_numbers_and_take_turns_on_new_lines() -> None:
    pieces = [heard(0, 1, "喂", channel=0), heard(1.5, 2, "你好", channel=1), heard(2.5, 3, "路灯", channel=1)]
    said = stitch(TRANSCRIPTION, pieces, as_is)
    assert said["answer"]["text"] == "喂\n你好路灯"
    assert [each["channel"] for each in said["answer"]["segments"]] == [0, 1, 1]


def test_texts_are_written_as_the_site_wants_them() -> None:
    said = stitch(TRANSCRIPTION, [heard(0, 1, "路灯"), heard(2, 3, "坏了")], lambda text: text.replace("灯", "燈"))
    assert said["answer"]["text"] == "路燈坏了"
    assert said["answer"]["segments"][0]["text"] == "路燈"


def test_a_recording_in_which_nobody_speaks_has_an_empty_transcript_of_no_dialect() -> None:
    said = stitch(TRANSCRIPTION, [], as_is)
    assert TRANSCRIPTION.target.model_validate(said["answer"]).model_dump(exclude={"entities"}) == {
        "text": "",
        "dialect": "unknown",
        "segments": (),
    }
    assert said["confidence"] == 0
    assert stitch(DIALECTS, [], as_is)["answer"] == {"label": "unknown"}


def test_the_dialect_of_a_long_recording_is_the_mean_of_its_stretches_by_seconds() -> None:
    def piece(start: float, end: float, **shares: float) -> Piece:
        (best, share), *others = shares.items()
        alternatives = [{"answer": {"label": tag}, "confidence": other} for tag, other in others]
        return Piece(0, start, end, {"answer": {"label": best}, "confidence": share, "alternatives": alternatives})

    said = stitch(DIALECTS, [piece(0, 1, cmn=0.9, yue=0.1), piece(1, 4, yue=0.7, cmn=0.3)], as_is)
    assert said["answer"] == {"label": "yue"}
    assert said["confidence"] == pytest.approx((0.1 + 3 * 0.7) / 4)
    [other] = said["alternatives"]
    assert other["answer"] == {"label": "cmn"}
    assert other["confidence"] == pytest.approx((0.9 + 3 * 0.3) / 4)


def test_one_stretch_alone_keeps_its_alternatives() -> None:
    piece = heard(0, 2, "路灯")
    other = {"answer": {"text": "路等", "dialect": "cmn", "segments": [], "entities": []}, "confidence": 0.2}
    said = stitch(TRANSCRIPTION, [Piece(0, 0, 2, {**piece.said, "alternatives": [other]})], as_is)
    [kept] = said["alternatives"]
    assert kept["answer"]["text"] == "路等"
    assert kept["answer"]["segments"][0]["end_seconds"] == 2
