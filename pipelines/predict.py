"""A whole table through an endpoint: every row comes back, answered or with the reason why not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotline import settings, tasks
from hotline.errors import HotlineError, InputError
from hotline.task import Task

if TYPE_CHECKING:
    import pandas as pd

ANSWER_COLUMNS = ("answer", "confidence", "second", "second_confidence", "request_id", "error")


def predict_table(
    task: str, file: Path, columns: Sequence[str], output: Path | None = None, url: str | None = None
) -> dict[str, Any]:
    """Answer every row of `file` and write it, with the answers beside, as CSV that spreadsheets open.

    `columns` are as `fields_of` takes them. Gives back counts and the path. Raises InputError for a missing column or a
    field without one, UnavailableError without an endpoint.
    """
    from rich.progress import track

    from data.tables import read_table
    from serving.client import predict

    declared = tasks.find(task)
    if declared.audio_field:
        raise InputError(f"{task} takes recordings, not rows of a table", found=file, next="hotline transcribe FILES")
    fields = fields_of(declared, columns)
    table = read_table(file, [column for named in fields.values() for column in named])
    inputs = [{field: _joined(row, named) for field, named in fields.items()} for _, row in table.iterrows()]
    answers = predict(url or address(), task, inputs)
    watched = track(answers, "answering", total=len(inputs), disable=not sys.stderr.isatty())
    cells = [_cells(answer) for answer in watched]
    target = output or file.with_name(f"{file.name.split('.')[0]}.answers.csv")
    for position, name in enumerate(ANSWER_COLUMNS):
        table[f"hotline_{name}"] = [row[position] for row in cells]
    table.to_csv(target, index=False, encoding="utf-8-sig")
    refused = sum(1 for row in cells if row[-1])
    return {"rows": len(cells), "answered": len(cells) - refused, "refused": refused, "output": str(target)}


def fields_of(task: Task, columns: Sequence[str]) -> dict[str, list[str]]:
    """Input field → the columns whose texts are joined in it: `FIELD=COLUMN`, or `COLUMN` for the first field.

    Raises InputError when a field that the task needs has no column.
    """
    declared = task.input.model_fields
    found: dict[str, list[str]] = {}
    for each in columns:
        field, mark, column = each.partition("=")
        if not mark or field not in declared:  # a column's own name may have an equals sign
            field, column = next(iter(declared)), each
        found.setdefault(field, []).append(column)
    lacking = [name for name, field in declared.items() if field.is_required() and name not in found]
    if lacking:
        raise InputError(
            f"{task.name} needs {', '.join(declared)}",
            where="--column",
            found="no column for " + ", ".join(lacking),
            next="add " + " ".join(f"--column {name}=COLUMN" for name in lacking),
        )
    return found


def _joined(row: pd.Series[Any], columns: Sequence[str]) -> str:
    return "\n".join(str(row[column]).strip() for column in columns if row[column])


def address() -> str:
    """Where this workspace's endpoints are."""
    try:
        here = settings.load()
    except HotlineError as error:
        raise InputError("where are the endpoints?", expected="--url or a workspace", next="hotline serve") from error
    return here.url


def _cells(answer: dict[str, Any]) -> tuple[Any, ...]:
    if "error" in answer:
        return (None, None, None, None, answer["error"].get("request_id"), answer["error"]["message"])
    others = answer["alternatives"] or [{"answer": {}, "confidence": None}]
    best, second = _words(answer["answer"]), _words(others[0]["answer"])
    return (best, answer["confidence"], second, others[0]["confidence"], answer["id"], None)


def _words(target: dict[str, Any]) -> str:
    return " ".join(str(value) for value in target.values())
