"""How far apart two versions' answers to one input are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rapidfuzz.distance import Levenshtein

from hotline.audio import Audio
from hotline.task import Input

TEXTS = ("transcriber", "writer")
"""Families whose answers are texts, of which a part may differ."""


def distance(family: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How far apart two answers are: 1 where a field that is no text differs, else the share of a text to be edited."""
    return max(_apart(family in TEXTS and name == "text", one.get(name), other.get(name)) for name in {*one, *other})


def _apart(text: bool, one: Any, other: Any) -> float:
    if text and isinstance(one, str) and isinstance(other, str):
        return float(Levenshtein.normalized_distance(one, other))
    return float(one != other)


def shown(question: Input) -> dict[str, Any]:
    """The input as JSON; a recording is told by its length."""
    return {
        name: f"{value.seconds:.1f} s of sound" if isinstance(value, Audio) else value
        for name, value in dict(question).items()
    }
