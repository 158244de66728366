"""A transcript's text with times that stand on evidence: aligned words, or the stretches between pauses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from hotline.wishes import is_word, units
from serving.stitching import Piece, Written


@dataclass(frozen=True)
class TimedWord:
    text: str
    start: float
    """Seconds, on the recording's own clock."""
    end: float


@dataclass(frozen=True)
class TimedSegment:
    """A sentence with the bounds of its words, or a stretch of speech with those that it was cut at."""

    text: str
    start: float
    end: float
    confidence: float
    channel: int
    words: tuple[TimedWord, ...] = ()


def timed(pieces: Sequence[Piece], written: Written) -> list[TimedSegment]:
    """The segments in order of time, as the site writes: sentences where the words are known, stretches elsewhere."""
    segments = [segment for piece in pieces for segment in _segments(piece, written)]
    return sorted(segments, key=lambda segment: (segment.start, segment.channel))


def _segments(piece: Piece, written: Written) -> list[TimedSegment]:
    answer = piece.said["answer"]
    sentences = [(each["text"], each["confidence"]) for each in answer["segments"]]
    counts = [sum(map(is_word, units(text))) for text, _ in sentences]
    words = [_word(each, piece) for each in piece.said.get("words", ())]
    if not words or sum(counts) != len(words):
        return _whole(piece, written)
    made, at = list[TimedSegment](), 0
    for (text, confidence), count in zip(sentences, counts, strict=True):
        mine, at = words[at : at + count], at + count
        if mine:
            shown = written(text)
            made.append(
                TimedSegment(
                    shown, mine[0].start, mine[-1].end, confidence, piece.channel, _as_written(mine, units(shown))
                )
            )
    return made


def _whole(piece: Piece, written: Written) -> list[TimedSegment]:
    text, start, end = written(piece.said["answer"]["text"]), round(piece.start_seconds, 3), round(piece.end_seconds, 3)
    return [TimedSegment(text, start, end, piece.said["confidence"], piece.channel)] if text else []


def _word(word: Mapping[str, Any], piece: Piece) -> TimedWord:
    start, end = (piece.start_seconds + word[name] for name in ("start_seconds", "end_seconds"))
    return TimedWord(word["text"], round(start, 3), round(min(end, piece.end_seconds), 3))


def _as_written(words: Sequence[TimedWord], shown: Sequence[str]) -> tuple[TimedWord, ...]:
    """The words in the site's spelling; what it writes otherwise (一百二十 → 120) is one word over all of its sound."""
    shown = [unit for unit in shown if is_word(unit)]
    if len(shown) == len(words):
        return tuple(TimedWord(text, word.start, word.end) for text, word in zip(shown, words, strict=True))
    changes = SequenceMatcher(None, [word.text for word in words], shown, autojunk=False).get_opcodes()
    made = list[TimedWord]()
    for kind, first, last, low, high in changes:
        if kind == "equal":
            made += words[first:last]
        elif first < last and low < high:
            made.append(TimedWord("".join(shown[low:high]), words[first].start, words[last - 1].end))
    return tuple(made)
