"""Questions to people without names: rows where two versions differ, shuffled, with the key in a file of its own."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evaluation import page_rows
from evaluation.compare import Comparison
from evaluation.resampling import independent_clusters
from hotline import digests
from hotline.errors import InputError, IntegrityError, RefusedError
from hotline.task import Target, Task
from hotline.text import TextPolicy, present, scored

Purpose = Literal["review", "audit"]
Who = Literal["a", "b", "reference"]
KEY_SUFFIX = ".key.json"
UNMARKED = TextPolicy(punctuation="dropped", spelling="half width")
"""How transcripts are shown in an audit: marks would tell a reference from an answer."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Option(_Frozen):
    """Something to choose, and whose it is; two that say the same are one."""

    who: tuple[Who, ...]
    shown: str
    target: dict[str, Any]


class Item(_Frozen):
    """One question, with its options in the order shown."""

    id: str
    """Of the row."""
    cluster: int
    lost: float
    """Errors of b less those of a, by the reference of the time: above 0 it was a regression."""
    options: tuple[Option, ...]


class Key(_Frozen):
    """Who said what. It stays with whoever made the sheet until the answers are back."""

    schema_version: Literal[1] = 1
    purpose: Purpose
    task: str
    names: dict[Literal["a", "b"], str]
    digests: dict[Literal["a", "b"], str | None]
    snapshot: str
    test_rows: str
    rows: int
    """Test rows in all."""
    differing: int
    """Those where the two differ."""
    seed: int
    items: dict[str, Item]
    """By the number on the sheet."""
    seal: str = ""
    """SHA-256 of everything else, so that an edit is noticed."""

    @property
    def expected_seal(self) -> str:
        return digests.of_value(self.model_dump(mode="json", exclude={"seal"}))


def draw(comparison: Comparison, purpose: Purpose, rows: int | None, seed: int) -> tuple[Key, dict[str, int]]:
    """A key over `rows` (or all) rows where the first two systems differ, and each item's row number.

    Raises InputError for more or fewer than two systems, RefusedError when they never differ.
    """
    if len(comparison.systems) != 2:
        raise InputError("people are asked about two versions", found=len(comparison.systems), expected=2)
    task, tested, (a, b) = comparison.declared, comparison.tested, comparison.systems
    differing = [row for row in range(len(tested)) if _differ(task, a.answers[row].target, b.answers[row].target)]
    if not differing:
        raise RefusedError(
            "the two versions never differ, so there is nothing to ask",
            found=f"{len(tested)} rows with the same answers",
            next="hotline compare other versions",
        )
    generator = random.Random(seed)
    chosen = generator.sample(differing, min(rows or len(differing), len(differing)))  # in random order
    wrong = [page_rows.errors(task, tested.targets, system.answers) for system in (a, b)]
    clusters = independent_clusters(tested)
    items = {
        str(number): Item(
            id=tested.ids[row],
            cluster=int(clusters[row]),
            lost=wrong[1][row] - wrong[0][row],
            options=_options(comparison, purpose, row, generator),
        )
        for number, row in enumerate(chosen, start=1)
    }
    key = Key(
        purpose=purpose,
        task=task.name,
        names={"a": a.name, "b": b.name},
        digests={"a": a.digest, "b": b.digest},
        snapshot=comparison.test_snapshot,
        test_rows=comparison.test_rows,
        rows=len(tested),
        differing=len(differing),
        seed=seed,
        items=items,
    )
    return key.model_copy(update={"seal": key.expected_seal}), dict(zip(items, chosen, strict=True))


def _said(task: Task, target: Target) -> str:
    """What counts as the same answer."""
    text = page_rows.text_of(task, target)
    return scored(text) if page_rows.kind(task) == "transcripts" else text


def _differ(task: Task, a: Target, b: Target) -> bool:
    return _said(task, a) != _said(task, b)


def _options(comparison: Comparison, purpose: Purpose, row: int, generator: random.Random) -> tuple[Option, ...]:
    task, (a, b) = comparison.declared, comparison.systems
    given: list[tuple[Who, Target]] = [("a", a.answers[row].target), ("b", b.answers[row].target)]
    if purpose == "audit":
        given.insert(0, ("reference", comparison.tested.targets[row]))
    merged: dict[str, list[tuple[Who, Target]]] = {}
    for who, target in given:
        merged.setdefault(_said(task, target), []).append((who, target))
    options = [
        Option(
            who=tuple(who for who, _ in same),
            shown=_shown(task, purpose, same[0][1]),
            target=same[0][1].model_dump(mode="json"),
        )
        for same in merged.values()
    ]
    generator.shuffle(options)
    return tuple(options)


def _shown(task: Task, purpose: Purpose, target: Target) -> str:
    text = page_rows.text_of(task, target)
    return present(text, UNMARKED) if purpose == "audit" and page_rows.kind(task) == "transcripts" else text


def key_path(sheet: Path) -> Path:
    """Beside the sheet."""
    return sheet.with_name(sheet.name + KEY_SUFFIX)


def write_key(key: Key, path: Path) -> Path:
    """The key file, readable by its owner alone."""
    path.write_text(key.model_dump_json(indent=1) + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def read_key(path: Path, purpose: Purpose) -> Key:
    """Raises InputError for a file that is no such key, IntegrityError for one that was edited."""
    try:
        key = Key.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InputError(
            "this is no key of a sheet", where=str(path), found=error, next=f"hotline {purpose} export A B OUT.csv"
        ) from error
    if key.purpose != purpose:
        raise InputError(
            f"this key is of another sheet, for hotline {key.purpose}",
            where=str(path),
            next=f"hotline {key.purpose} import SHEET {path}",
        )
    if key.seal != key.expected_seal:
        raise IntegrityError(
            "the key was edited since the sheet was exported",
            where=str(path),
            found=key.expected_seal[:12],
            expected=key.seal[:12],
            next=f"hotline {purpose} export A B OUT.csv again",
        )
    return key


def lines(sheet: Path, columns: Sequence[str]) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Each line of a sheet that came back: its number, the item that it is about, and its cells.

    Any table that `hotline import` reads will do. Raises InputError when it cannot be read or lacks a column.
    """
    from data.tables import read_table

    table = read_table(sheet, ["item", *columns])
    for number, cells in enumerate(json.loads(table.to_json(orient="records")), start=1):
        item = re.fullmatch(r"0*(\d+)(\.0+)?", cells["item"])  # spreadsheets write 7 as 7.0
        yield number, item[1] if item else cells["item"], cells
