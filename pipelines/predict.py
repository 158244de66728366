"""A whole table through an endpoint: every row comes back, answered or with the reason why not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotline import settings, tasks
from hotline.errors import HotlineError, InputError

ANSWER_COLUMNS = ("answer", "confidence", "second", "second_confidence", "request_id", "error")


def predict_table(
    task: str, file: Path, columns: Sequence[str], output: Path | None = None, url: str | None = None
) -> dict[str, Any]:
    """Answer every row of `file` and write it, with the answers beside, as CSV that spreadsheets open.

    Gives back counts and the path. Raises InputError for a missing column, UnavailableError without an endpoint.
    """
    from rich.progress import track

    from data.tables import read_table
    from serving.client import predict

    declared = tasks.find(task)
    if declared.audio_field:
        raise InputError(f"{task} takes recordings, not rows of a table", found=file, next="hotline transcribe FILES")
    field = next(iter(declared.input.model_fields))
    table = read_table(file, columns)
    texts = ["\n".join(str(row[column]).strip() for column in columns if row[column]) for _, row in table.iterrows()]
    answers = predict(url or address(), task, ({field: text} for text in texts))
    watched = track(answers, "answering", total=len(texts), disable=not sys.stderr.isatty())
    cells = [_cells(answer) for answer in watched]
    target = output or file.with_name(f"{file.name.split('.')[0]}.answers.csv")
    for position, name in enumerate(ANSWER_COLUMNS):
        table[f"hotline_{name}"] = [row[position] for row in cells]
    table.to_csv(target, index=False, encoding="utf-8-sig")
    refused = sum(1 for row in cells if row[-1])
    return {"rows": len(cells), "answered": len(cells) - refused, "refused": refused, "output": str(target)}


def address() -> str:
    """Where this workspace's endpoints are."""
    try:
        here = settings.load()
    except HotlineError as error:
        raise InputError("where are the endpoints?", expected="--url or a workspace", next="hotline serve") from error
    return f"http://{here.host}:{here.port}"


def _cells(answer: dict[str, Any]) -> tuple[Any, ...]:
    if "error" in answer:
        return (None, None, None, None, answer["error"].get("request_id"), answer["error"]["message"])
    others = answer["alternatives"] or [{"answer": {}, "confidence": None}]
    best, second = _words(answer["answer"]), _words(others[0]["answer"])
    return (best, answer["confidence"], second, others[0]["confidence"], answer["id"], None)


def _words(target: dict[str, Any]) -> str:
    return " ".join(str(value) for value in target.values())
