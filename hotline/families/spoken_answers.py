"""What was heard, as the answer that a task declares: a transcript by sentences, or the tag of a dialect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hotline.dialects import UNKNOWN
from hotline.families.recognisers import Heard, confidence
from hotline.task import Answer, Target, Task

FULL_STOPS, STOPS_BEFORE_BLANKS = ("。", "？", "！"), (".", "?", "!")


def ranked(dialects: Sequence[str], probabilities: Sequence[float], floor: float) -> list[tuple[str, float]]:
    """Tags with their probabilities, best first, which sum to 1.

    `unknown` leads when the best is below the floor, with the probability that the best is wrong.
    """
    if not dialects:
        return [(UNKNOWN, 1.0)]
    pairs = sorted(zip(dialects, probabilities, strict=True), key=lambda pair: -pair[1])
    best = pairs[0][1]
    return pairs if best >= floor else [(UNKNOWN, 1.0 - best), *((tag, best * share) for tag, share in pairs)]


def tagged(task: Task, tags: Sequence[tuple[str, float]]) -> Answer:
    """The first tag; the others are alternatives."""
    made = [(task.target.model_validate({"label": tag}), min(1.0, max(0.0, share))) for tag, share in tags]
    return Answer(target=made[0][0], confidence=made[0][1], alternatives=tuple(made[1:]))


def transcribed(task: Task, readings: Sequence[Heard], seconds: float, dialect: str) -> Answer:
    """The best reading; the others are alternatives."""

    def target(heard: Heard) -> Target:
        said = {"text": heard.text, "dialect": dialect, "segments": segments(heard, seconds)}
        return task.target.model_validate({name: said[name] for name in said if name in task.target.model_fields})

    best, *others = readings
    return Answer(
        target=target(best),
        confidence=min(1.0, best.confidence),
        alternatives=tuple((target(other), min(1.0, other.confidence)) for other in others),
        tokens=tuple((piece[0], min(1.0, piece[3])) for piece in best.pieces),
    )


def segments(heard: Heard, seconds: float) -> list[dict[str, Any]]:
    """The reading by sentences: each ends after its mark. No time lies beyond `seconds`, the clip's length."""
    last = math.floor(seconds * 1000) / 1000
    sentences: list[list[tuple[str, float, float, float]]] = [[]]
    for number, piece in enumerate(heard.pieces):
        if not sentences[-1] and not piece[0].strip():
            continue  # the blank between two sentences belongs to neither
        sentences[-1].append(piece)
        following = heard.pieces[number + 1][0] if number + 1 < len(heard.pieces) else " "
        if _ends_sentence(piece[0], following):
            sentences.append([])
    return [
        {
            "start_seconds": min(round(pieces[0][1], 3), last),
            "end_seconds": min(round(max(pieces[-1][2], pieces[0][1]), 3), last),
            "text": "".join(piece[0] for piece in pieces).strip(),
            "confidence": min(1.0, confidence([piece[3] for piece in pieces])),
        }
        for pieces in sentences
        if pieces
    ]


def _ends_sentence(text: str, following: str) -> bool:
    """Whether a mark closes a sentence there; the dot of 3.5 does not."""
    return text.endswith(FULL_STOPS) or (text.endswith(STOPS_BEFORE_BLANKS) and following[:1].isspace())
