"""Scores of records: what a model filled into the fields of a form, as additive statistics (hotline.scores).

A record is read from a target: the target itself, or JSON that a writer's text holds. Its leaves are compared: words by
spelling (script, width, case and blanks do not count), everything else as it is. Legend: n rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from hotline.label_scores import f1
from hotline.scores import Array, Score, hits, mean
from hotline.task import Answer, Target
from hotline.text import TextPolicy, present

SPELLING = TextPolicy(script="simplified", spelling="folded", blanks="dropped")
"""Marks count: 3-1 is another house than 31."""
Record = Mapping[str, Any]
Reader = Callable[[Target], Record | None]
"""The record of a target; None when it holds none."""


def own_fields(target: Target) -> Record:
    """The target itself."""
    return target.model_dump(mode="json")


def json_text(schema: type[BaseModel]) -> Reader:
    """The JSON object in a target's `text`, with the schema's defaults; None when it is not valid by the schema."""

    def read(target: Any) -> Record | None:
        try:
            return schema.model_validate_json(target.text).model_dump(mode="json")
        except ValidationError:
            return None

    return read


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every filled leaf with its path; members of a list share theirs, so that their order does not count."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from leaves(part, f"{path}/{name}")
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part, path)
    elif isinstance(value, str):
        if spelt := present(value, SPELLING):
            yield path, spelt
    elif value is not None:
        yield path, value


def _by_path(record: Record | None) -> dict[str, Counter[str]]:
    """The values at every path. True is not 1, but 3.0 is 3."""
    found: dict[str, Counter[str]] = {}
    for path, value in leaves(record or {}):
        plain = int(value) if isinstance(value, float) and value.is_integer() else value
        found.setdefault(path, Counter())[json.dumps(plain, ensure_ascii=False)] += 1
    return found


def _pairs(
    read: Reader, targets: Sequence[Target], answers: Sequence[Answer]
) -> Iterator[tuple[dict[str, Counter[str]], dict[str, Counter[str]]]]:
    for target, answer in zip(targets, answers, strict=True):
        yield _by_path(read(target)), _by_path(read(answer.target))


def field_accuracy(read: Reader = own_fields) -> Score:
    """Of the fields that either record fills, how many hold the same."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        rows = [
            (sum(a.get(path) == b.get(path) for path in a.keys() | b.keys()), len(a.keys() | b.keys()))
            for a, b in _pairs(read, targets, answers)
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    return Score("field_accuracy", statistics, mean, bounded=True)


def field_f1(read: Reader = own_fields) -> Score:
    """F1 of filled values at their fields over all rows (micro); an invalid record fills none."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        rows = []
        for a, b in _pairs(read, targets, answers):
            common = sum((a[path] & b[path]).total() for path in a.keys() & b.keys())
            rows.append((common, _filled(b), _filled(a)))
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    return Score("field_f1", statistics, f1, bounded=True)


def _filled(record: Mapping[str, Counter[str]]) -> int:
    return sum(values.total() for values in record.values())


def record_accuracy(read: Reader = own_fields) -> Score:
    """How often every field is right, and none is filled that is not to be."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        valid = [read(answer.target) is not None for answer in answers]
        return hits([ok and a == b for ok, (a, b) in zip(valid, _pairs(read, targets, answers), strict=True)])

    return Score("record_accuracy", statistics, mean, bounded=True)


def schema_validity(schema: type[BaseModel]) -> Score:
    """How often the text of an answer is JSON that the schema takes, by itself and nothing around it."""
    read = json_text(schema)

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
        return hits([read(answer.target) is not None for answer in answers])

    return Score("schema_validity", statistics, mean, bounded=True)
