"""Times of words and segments, and subtitles made of them."""

from __future__ import annotations

from typing import Any

import srt
import webvtt

from serving import subtitles
from serving.stitching import Piece
from serving.timed_text import TimedSegment, timed


def said(text: str, words: list[tuple[str, float, float]] | None, sentences: list[str] | None = None) -> dict[str, Any]:
    segments = [
        {"text": each, "confidence": 0.9, "start_seconds": 0.0, "end_seconds": 9.0} for each in sentences or [text]
    ]
    shown = {} if words is None else {"words": [dict(zip(("text", "start_seconds", "end_seconds"), w)) for w in words]}  # noqa: B905
    return {"answer": {"text": text, "segments": segments}, "confidence": 0.8, **shown}


def test_sentences_bear_the_bounds_of_their_words_on_the_recordings_clock() -> None:
    words = [("路", 0.1, 0.3), ("灯", 0.3, 0.5), ("坏", 1.0, 1.2)]
    piece = Piece(0, 10.0, 12.0, said("路灯。坏！", words, ["路灯。", "坏！"]))
    first, second = timed([piece], str)
    assert (first.text, first.start, first.end) == ("路灯。", 10.1, 10.5)
    assert (second.text, second.start, second.end) == ("坏！", 11.0, 11.2)
    assert [word.text for word in first.words] == ["路", "灯"]


def test_without_words_a_stretch_is_one_segment_with_the_bounds_it_was_cut_at() -> None:
    piece = Piece(1, 3.0, 7.5, said("路灯。坏！", None, ["路灯。", "坏！"]))
    [segment] = timed([piece], str)
    assert (segment.text, segment.start, segment.end, segment.channel) == ("路灯。坏！", 3.0, 7.5, 1)
    assert segment.words == ()


def test_a_number_that_the_site_writes_in_digits_is_one_word_over_all_of_its_sound() -> None:
    words = [(unit, n / 10, (n + 1) / 10) for n, unit in enumerate("找一百二十号")]
    [segment] = timed([Piece(0, 0.0, 1.0, said("找一百二十号", words))], lambda text: text.replace("一百二十", "120"))
    assert [(word.text, word.start, word.end) for word in segment.words] == [
        ("找", 0.0, 0.1),
        ("120", 0.1, 0.5),
        ("号", 0.5, 0.6),
    ]


def test_another_script_has_the_same_words() -> None:
    [segment] = timed(
        [Piece(0, 0.0, 1.0, said("电灯", [("电", 0, 0.2), ("灯", 0.2, 0.4)]))], lambda t: t.replace("电灯", "電燈")
    )
    assert [word.text for word in segment.words] == ["電", "燈"]


def test_subtitles_keep_what_looks_like_markup() -> None:
    segments = [
        TimedSegment("a < b --> c & d", 3599.9996, 3601.0, 1.0, 0),
        TimedSegment("好\n\n的", 3602.0, 3602.0, 1, 0),
    ]
    assert [cue.content for cue in srt.parse(subtitles.srt(segments))] == ["a < b --> c & d", "好 的"]
    captions = list(webvtt.from_string(subtitles.vtt(segments)))
    assert (captions[0].start, captions[0].end) == ("01:00:00.000", "01:00:01.000")
    assert len(captions) == 2
    assert "-->" not in captions[0].raw_text.replace("&gt;", "")
    assert subtitles.vtt([]) == "WEBVTT\n"
