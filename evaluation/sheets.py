"""Sheets for people: the same questions as a table to fill in, as JSON lines, or as a page to click through."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation import blind, page, page_rows
from evaluation.blind import Item, Key
from evaluation.compare import Comparison
from hotline.errors import InputError

SUFFIXES = (".csv", ".jsonl", ".html")
SIDES = ("left", "right")
FORMULA = re.compile(r"^[=+\-@\t\r]")


@dataclass(frozen=True)
class Exported:
    """A sheet that was written."""

    sheet: Path
    key: Path
    clips: Path | None
    items: int
    differing: int
    rows: int

    def as_dict(self) -> dict[str, Any]:
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}


def export(comparison: Comparison, purpose: blind.Purpose, sheet: Path, rows: int | None, seed: int) -> Exported:
    """The sheet and, beside it, its key; sound goes to a folder beside a table, and into a page.

    Raises InputError for a kind of file that is none of SUFFIXES, and as `blind.draw` does.
    """
    refuse_other_kinds(sheet)
    key, places = blind.draw(comparison, purpose, rows, seed)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    clips = None
    if sheet.suffix == ".html":
        sheet.write_text(_page(comparison, key, places), encoding="utf-8")
    else:
        clips = _clips(comparison, sheet, places)
        records = [_record(comparison, key, number, places[number], clips) for number in key.items]
        _table(sheet, records)
    return Exported(sheet, blind.write_key(key, blind.key_path(sheet)), clips, len(key.items), key.differing, key.rows)


def refuse_other_kinds(sheet: Path) -> None:
    """Raises InputError for a file that is none of SUFFIXES, before anything was answered."""
    if sheet.suffix not in SUFFIXES:
        raise InputError("not a kind of sheet", where=str(sheet), expected=", ".join(SUFFIXES))


def columns(purpose: blind.Purpose) -> tuple[str, ...]:
    """Those to fill in; a comment may be left out."""
    return ("preferred",) if purpose == "review" else ("right", "correction")


def _record(comparison: Comparison, key: Key, number: str, row: int, clips: Path | None) -> dict[str, str]:
    given = page_rows.input_text(comparison.declared, comparison.tested.inputs[row])
    asked = {"item": number, "input": f"{clips.name}/{number}.wav" if clips else given}
    options = _named(key.purpose, key.items[number])
    return asked | options | dict.fromkeys([*columns(key.purpose), "comment"], "")


def _named(purpose: blind.Purpose, item: Item) -> dict[str, str]:
    """The options by their columns: left and right, or `option 1` to `option 3`."""
    shown = [option.shown for option in item.options]
    if purpose == "review":
        return dict(zip(SIDES, shown, strict=True))
    shown += [""] * (3 - len(shown))
    return {f"option {number}": text for number, text in enumerate(shown, start=1)}


def _table(sheet: Path, records: Sequence[Mapping[str, str]]) -> None:
    if sheet.suffix == ".jsonl":
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        sheet.write_text(text, encoding="utf-8")
        return
    with sheet.open("w", encoding="utf-8-sig", newline="") as stream:  # the mark tells spreadsheets that it is UTF-8
        writer = csv.DictWriter(stream, list(records[0]))
        writer.writeheader()
        # what a caller says must not be run as a formula
        writer.writerows({name: FORMULA.sub(r"'\g<0>", cell) for name, cell in record.items()} for record in records)


def _clips(comparison: Comparison, sheet: Path, places: Mapping[str, int]) -> Path | None:
    field = comparison.declared.audio_field
    if field is None:
        return None
    import soundfile

    folder = sheet.with_name(f"{sheet.stem}-clips")
    folder.mkdir(exist_ok=True)
    for number, row in places.items():
        audio = getattr(comparison.tested.inputs[row], field)
        soundfile.write(folder / f"{number}.wav", audio.samples, audio.sample_rate_hz, subtype="PCM_16")
    return folder


def _page(comparison: Comparison, key: Key, places: Mapping[str, int]) -> str:
    """The page knows the options, not whose they are."""
    task, inputs = comparison.declared, comparison.tested.inputs
    items = [
        {
            "item": number,
            "input": page_rows.input_text(task, inputs[row]),
            "options": [option.shown for option in key.items[number].options],
        }
        for number, row in places.items()
    ]
    asked = {"purpose": key.purpose, "task": task.name, "summary": task.summary, "sheet": key.seal[:12], "items": items}
    return page.fill(
        "blind.html",
        title=f"{task.name}: {key.purpose}",
        clips=page_rows.clips(task, inputs, dict(places)) if task.audio_field else {},
        data=page.packed(asked),
    )
