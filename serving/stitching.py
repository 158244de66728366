"""The answers for the stretches of a recording, as one answer for all of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hotline.dialects import UNKNOWN
from hotline.task import Task
from hotline.tasks.speech.transcription import Transcript

FIRST_WIDE_CHARACTER = "\u2e80"
"""From here on writing is Chinese, and blanks carry nothing."""
Said = Mapping[str, Any]
"""`answer`, `confidence` and `alternatives` in plain values."""
Written = Callable[[str], str]


@dataclass(frozen=True)
class Piece:
    """What was said to one stretch: of which channel, from when to when."""

    channel: int
    start_seconds: float
    end_seconds: float
    said: Said

    @property
    def seconds(self) -> float:
        return self.end_seconds - self.start_seconds


def stitch(task: Task, pieces: Sequence[Piece], written: Written) -> dict[str, Any]:
    """One answer for the whole recording, a transcript's text as `written` writes it.

    Confidences are means weighted by seconds. A transcript's texts are joined in order of time, any other answer is
    the one with the greatest mean probability.
    """
    in_order = sorted(pieces, key=lambda piece: (piece.start_seconds, piece.channel))
    if issubclass(task.target, Transcript):
        return _transcript(in_order, written)
    return _vote(in_order, task)


def _transcript(pieces: Sequence[Piece], written: Written) -> dict[str, Any]:
    segments = [segment for piece in pieces for segment in _segments(piece, written)]
    segments.sort(key=lambda segment: (segment["start_seconds"], segment["channel"]))
    answer = {"text": _joined(pieces, written), "dialect": _most_heard(pieces), "segments": segments}
    others = pieces[0].said["alternatives"] if len(pieces) == 1 else []
    return {
        "answer": answer,
        "confidence": _confidence(pieces),
        "alternatives": [_alternative(other, pieces[0], written) for other in others],
    }


def _alternative(other: Said, piece: Piece, written: Written) -> dict[str, Any]:
    """What else the model considered for the only stretch, written like the answer."""
    heard = replace(piece, said=other)
    answer = {"text": written(other["answer"]["text"]), "segments": _segments(heard, written)}
    return {**other, "answer": {**other["answer"], **answer}}


def _segments(piece: Piece, written: Written) -> list[dict[str, Any]]:
    """The segments that the model gave, on the recording's own clock; the stretch as one where it gave none."""
    answer, start = piece.said["answer"], piece.start_seconds
    whole = {"start_seconds": 0.0, "end_seconds": piece.seconds, "text": answer["text"]}
    given = answer["segments"] or ([{**whole, "confidence": piece.said["confidence"]}] if answer["text"] else [])
    return [
        {
            "start_seconds": round(start + segment["start_seconds"], 3),
            "end_seconds": round(min(start + segment["end_seconds"], piece.end_seconds), 3),
            "text": written(segment["text"]),
            "confidence": segment["confidence"],
            "channel": piece.channel,
        }
        for segment in given
    ]


class Joined:
    """Texts in order of time: a new line where the channel changes, a blank between Latin words, else nothing."""

    def __init__(self, written: Written) -> None:
        self._written, self._channel = written, -1
        self.text = ""

    def add(self, piece: Piece) -> str:
        """What the piece adds to the text."""
        if not (text := self._written(piece.said["answer"]["text"])):
            return ""
        between = ""
        if self.text and piece.channel != self._channel:
            between = "\n"
        elif self.text and max(self.text[-1], text[0]) < FIRST_WIDE_CHARACTER:
            between = " "
        self.text, self._channel = self.text + between + text, piece.channel
        return between + text


def _joined(pieces: Sequence[Piece], written: Written) -> str:
    joined = Joined(written)
    return "".join(joined.add(piece) for piece in pieces)


def _most_heard(pieces: Sequence[Piece]) -> str:
    """The dialect that most seconds were heard as."""
    seconds: dict[str, float] = defaultdict(float)
    for piece in pieces:
        seconds[piece.said["answer"]["dialect"]] += piece.seconds
    return max(seconds, key=lambda tag: seconds[tag], default=UNKNOWN)


def _confidence(pieces: Sequence[Piece]) -> float:
    """Weighted by seconds; 0 when nothing was heard."""
    total = sum(piece.seconds for piece in pieces)
    share = sum(piece.said["confidence"] * piece.seconds for piece in pieces) / total if total else 0.0
    return min(1.0, float(share))


def _vote(pieces: Sequence[Piece], task: Task) -> dict[str, Any]:
    """Every answer's mean probability, weighted by seconds; the best one, with the others as alternatives."""
    if not pieces:
        return {"answer": dict.fromkeys(task.provenance_fields, UNKNOWN), "confidence": 0.0, "alternatives": []}
    if len(pieces) == 1:
        return dict(pieces[0].said)
    total = sum(piece.seconds for piece in pieces)
    shares: dict[str, float] = defaultdict(float)
    for piece in pieces:
        for each in (piece.said, *piece.said["alternatives"]):
            shares[json.dumps(each["answer"], sort_keys=True)] += each["confidence"] * piece.seconds / total
    best, *others = (
        {"answer": json.loads(answer), "confidence": min(1.0, share)}
        for answer, share in sorted(shares.items(), key=lambda item: -item[1])
    )
    return {**best, "alternatives": others}
