"""Were the regressions real? Rows where two versions differ, checked blind, and what that makes of the test rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data import privacy
from data.relabel import Correction, Relabelled, relabel
from evaluation import blind, page_rows
from evaluation.blind import Item, Key
from evaluation.statistics import wilson
from hotline import digests, tasks
from hotline.settings import Settings
from hotline.task import Answer, Task

NONE_RIGHT = ("0", "none", "无", "都不对")


@dataclass
class _Line:
    """One line that came back; with reasons it counts for nothing and goes to quarantine."""

    number: int
    item: str
    cells: Mapping[str, str]
    right: tuple[int, ...] = ()
    correction: str = ""
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """Of the rows that got worse, or better, or neither: how many were checked, and how many references were wrong."""

    items: int
    checked: int
    wrong_references: int
    still: int
    """Of those checked, as the corrected references have it."""

    def as_dict(self) -> dict[str, Any]:
        low, high = wilson(self.wrong_references / self.checked, self.checked) if self.checked else (None, None)
        return {**vars(self), "share_low": low, "share_high": high}


@dataclass(frozen=True)
class AuditReport:
    """Items = checked + unchecked; lines = accepted + quarantined."""

    task: str
    a: str
    b: str
    items: int
    checked: int
    wrong_references: int
    regressions: Part
    improvements: Part
    neither: Part
    lines: int
    quarantined: int
    reasons: dict[str, int]
    quarantine: str | None
    before: str
    snapshot: str
    relabelled: int

    def as_dict(self) -> dict[str, Any]:
        return {name: value.as_dict() if isinstance(value, Part) else value for name, value in vars(self).items()}


def bring_back(settings: Settings, sheet: Path, key_file: Path) -> AuditReport:
    """Read a checked sheet, correct the references that were wrong, and commit them as a new snapshot.

    A line that cannot be used goes to data/quarantine/TASK/, with its reasons. Raises InputError for a file that is
    no such sheet, IntegrityError for an edited key.
    """
    key = blind.read_key(key_file, "audit")
    task = tasks.find(key.task)
    found = [_parsed(key, *line) for line in blind.lines(sheet, ("right", "correction"))]
    _refuse_contradictions(found)
    answered = {line.item: line for line in found if not line.reasons and (line.right or line.correction)}
    corrections = {
        item: correction
        for item, line in answered.items()
        if (correction := _correction(task, key.items[item], line)) is not None
    }
    file_digest = digests.of_file(sheet)
    by_row = {key.items[item].id: correction for item, correction in corrections.items()}
    batch = f"audit-{key.seal[:12]}"
    done = relabel(settings, task, by_row, batch, sheet, file_digest)
    for item, line in answered.items():
        line.reasons += done.refused.get(key.items[item].id, [])
    bad = [line for line in found if line.reasons]
    place = settings.quarantine / task.name / f"{batch}-{file_digest[:12]}.jsonl"
    return _report(task, key, found, corrections, done, _quarantined(place, sheet, bad))


def _parsed(key: Key, number: int, item: str, cells: Mapping[str, str]) -> _Line:
    line = _Line(number, item, cells, correction=cells["correction"].strip())
    if item not in key.items:
        line.reasons.append(
            f"item: found {privacy.mask(item)[:40]!r}, expected one of the {len(key.items)} of the sheet"
        )
        return line
    said, options = cells["right"].strip().lower(), len(key.items[item].options)
    if said in NONE_RIGHT:
        if not line.correction:
            line.reasons.append("correction: found none, expected what is right, as no option is")
        return line
    numbers = re.findall(r"\d+", re.sub(r"(\d)\.0+\b", r"\1", said))
    line.right = tuple(sorted({int(each) for each in numbers}))
    if (said and not numbers) or any(not 1 <= each <= options for each in line.right):
        line.reasons.append(f"right: found {privacy.mask(said)[:40]!r}, expected numbers from 1 to {options}, or 0")
    elif line.right and line.correction:
        line.reasons.append("correction: found a text beside an option that is right, expected one or the other")
    return line


def _refuse_contradictions(found: list[_Line]) -> None:
    """Two lines about one item that do not say the same: neither counts. Two that do are one."""
    first: dict[str, _Line] = {}
    for line in found:
        other = first.setdefault(line.item, line)
        if other is not line and (other.right, other.correction) != (line.right, line.correction):
            for each in (line, other):
                reason = f"item: {line.item} is answered twice, differently (lines {other.number} and {line.number})"
                each.reasons += [] if reason in each.reasons else [reason]


def _correction(task: Task, item: Item, line: _Line) -> Correction | None:
    """What the row should say instead, or None where its reference is right."""
    chosen = [item.options[number - 1] for number in line.right]
    if any("reference" in option.who for option in chosen):
        return None
    before = _judged(task, _reference(item))
    after = _judged(task, chosen[0].target) if chosen else _typed(task, before, line)
    return None if line.reasons or after == before else Correction(before, after)


def _reference(item: Item) -> dict[str, Any]:
    return next(option.target for option in item.options if "reference" in option.who)


def _judged(task: Task, target: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a target that was looked at: its label or text, else all of it."""
    return next(({name: target[name]} for name in ("label", "text") if name in target), dict(target))


def _typed(task: Task, before: Mapping[str, Any], line: _Line) -> dict[str, Any]:
    """The correction that somebody wrote down."""
    if page_rows.kind(task) != "values":
        return dict.fromkeys(before, line.correction)
    try:
        given = json.loads(line.correction)
        return dict(task.target.model_validate(given).model_dump(mode="json"))
    except ValueError as error:
        line.reasons.append(f"correction: {str(error).splitlines()[0]}")
        return dict(before)


def _quarantined(place: Path, sheet: Path, bad: list[_Line]) -> Path | None:
    if not bad:
        place.unlink(missing_ok=True)
        return None
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w", encoding="utf-8") as stream:
        for line in bad:
            cells = {name: privacy.mask(str(cell)) for name, cell in line.cells.items()}
            record = {"file": sheet.name, "row": line.number, "reasons": line.reasons, "cells": cells}
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    return place


def _report(
    task: Task,
    key: Key,
    found: list[_Line],
    corrections: Mapping[str, Correction],
    done: Relabelled,
    quarantine: Path | None,
) -> AuditReport:
    checked = {line.item for line in found if not line.reasons and (line.right or line.correction)}
    wrong = {item: corrections[item] for item in checked if item in corrections}
    parts = {
        name: _part(task, {item: each for item, each in key.items.items() if _sign(each.lost) == sign}, checked, wrong)
        for name, sign in (("regressions", 1), ("improvements", -1), ("neither", 0))
    }
    bad = [line for line in found if line.reasons]
    kinds = Counter(kind for line in bad for kind in {reason.split(": found", 1)[0] for reason in line.reasons})
    return AuditReport(
        task=key.task,
        a=key.names["a"],
        b=key.names["b"],
        items=len(key.items),
        checked=len(checked),
        wrong_references=len(wrong),
        **parts,
        lines=len(found),
        quarantined=len(bad),
        reasons=dict(kinds.most_common()),
        quarantine=str(quarantine) if quarantine else None,
        before=done.before,
        snapshot=done.snapshot,
        relabelled=len(done.changed),
    )


def _part(task: Task, items: Mapping[str, Item], checked: set[str], wrong: Mapping[str, Correction]) -> Part:
    mine = [item for item in items if item in checked]
    still = [item for item in mine if _sign(_lost(task, items[item], wrong.get(item))) == _sign(items[item].lost)]
    return Part(len(items), len(mine), sum(item in wrong for item in mine), len(still))


def _lost(task: Task, item: Item, correction: Correction | None) -> float:
    """Errors of b less those of a, by the corrected reference."""
    if correction is None:
        return item.lost
    target = task.target.model_validate({**_reference(item), **correction.after})
    answers = [
        Answer(target=task.target.model_validate(option.target), confidence=1.0)
        for who in ("a", "b")
        for option in item.options
        if who in option.who
    ]
    a, b = (page_rows.errors(task, [target], [answer])[0] for answer in answers)
    return b - a


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
