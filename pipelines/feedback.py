"""Captured calls, decrypted: corrections as a table with a mapping for `hotline import`, calls for `hotline replay`."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from hotline import keys, policy, tasks
from hotline.errors import InputError
from hotline.labels import SEPARATOR
from hotline.settings import Settings
from hotline.task import Task
from serving.access.records import Exported
from serving.access.register import Register
from serving.capture import sealing
from serving.capture.rows import Corrected, asked, corrected
from serving.capture.store import Store

TABLE, MAPPING, CLIPS = "corrections.csv", "mapping.yaml", "clips"
OWN = ("id", "call_id", "time", "answered")


def export(settings: Settings, name: str, folder: Path | None, key: str) -> dict[str, Any]:
    """Decrypt the task's corrected calls into a new folder; the operator whose key that is signs that it was done.

    Gives back how many rows and where. Raises InputError for a folder that exists, PolicyError without the capture key,
    RefusedError for a signing key that is no operator's; nothing is written then.
    """
    task, now = tasks.find(name), datetime.now(UTC)
    rows = list(corrected(settings, task))
    target = _folder(settings, folder, f"{name}-corrections-{now:%Y%m%dT%H%M%S}")
    _sign(settings, name, len(rows), key)
    target.mkdir(parents=True, mode=0o700)
    columns = _columns(task, rows)
    _write_table(target, task, columns, rows)
    _write_mapping(target / MAPPING, task, columns, f"corrections {now:%Y-%m-%d}")
    found = target / CLIPS if task.audio_field else target / TABLE
    return {"task": name, "rows": len(rows), "output": str(found), "mapping": str(target / MAPPING)}


def calls(
    settings: Settings, name: str, since: datetime, until: datetime, folder: Path | None, key: str
) -> dict[str, Any]:
    """Decrypt the task's captured calls of that time into a new folder, as `hotline replay` reads them.

    Gives back how many and where; raises as `export` does.
    """
    task, period = tasks.find(name), (since.timestamp(), until.timestamp())
    sealing.load(settings.keys)
    target = _folder(settings, folder, f"{name}-calls-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    kept = sum(1 for call in Store(settings.captures).calls(*period) if call.task == name)
    _sign(settings, name, kept, key)
    target.mkdir(parents=True, mode=0o700)
    written = 0
    with _opened(target / "calls.jsonl", "w") as stream:
        for call in asked(settings, task, *period):
            line: dict[str, Any] = {"input": dict(call.input)}
            if call.clip is not None:
                with _opened(target / f"{call.id}.wav", "wb") as clip:
                    clip.write(call.clip)
                line["input"][task.audio_field] = f"{call.id}.wav"
            if call.answer is not None:
                line["answer"] = call.answer
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            written += 1
    return {"task": name, "calls": written, "output": str(target / "calls.jsonl")}


def _folder(settings: Settings, named: Path | None, default: str) -> Path:
    target = named or settings.workspace / "data" / "incoming" / default
    if target.exists():
        raise InputError("the folder is there already", where=str(target), next="name another one with --output")
    return target


def _sign(settings: Settings, task: str, count: int, key: str) -> None:
    """That so many of the task's calls are decrypted. Raises RefusedError for a key that is no operator's."""
    record = Exported(site=policy.load(settings.workspace).site, task=task, calls=count)
    Register.of(settings).append(lambda _: record, keys.load(settings.keys, key, role="operator"))


def _columns(task: Task, rows: Sequence[Corrected]) -> dict[str, list[str]]:
    """Of every field of an input and a target; a path of the label tree has one for each of its levels."""
    inputs = [f"input.{name}" for name in task.input.model_fields if name != task.audio_field]
    fields = [*inputs, *(f"target.{name}" for name in task.target.model_fields)]
    columns = {name: [name] for name in fields}
    if task.label_field:
        name = f"target.{task.label_field}"
        levels = max((row.target[task.label_field].count(SEPARATOR) for row in rows), default=0) + 1
        columns[name] = [f"{name} {level}" for level in range(1, levels + 1)]
    return columns


def _write_table(folder: Path, task: Task, columns: Mapping[str, list[str]], rows: Sequence[Corrected]) -> None:
    named = [*OWN, *(["file"] if task.audio_field else []), *itertools.chain(*columns.values())]
    place = folder / CLIPS if task.audio_field else folder
    place.mkdir(exist_ok=True, mode=0o700)
    with _opened(place / TABLE, "w") as stream:
        table = csv.DictWriter(stream, named, restval="", extrasaction="ignore")
        table.writeheader()
        for row in rows:
            table.writerow(_cells(row, columns))
            if row.clip is not None:
                with _opened(place / f"{row.id}.wav", "wb") as clip:  # of any kind: the import looks at the bytes
                    clip.write(row.clip)


def _cells(row: Corrected, columns: Mapping[str, list[str]]) -> dict[str, str]:
    said = {f"input.{name}": value for name, value in row.input.items()}
    said |= {f"target.{name}": value for name, value in row.target.items()}
    cells = {"id": row.id, "call_id": row.call_id, "time": datetime.fromtimestamp(row.time, UTC).isoformat()}
    cells |= {"answered": row.answer.decode(errors="replace"), "file": f"{row.id}.wav"}
    for name, value in said.items():
        levels = columns.get(name, [])
        parts = value.split(SEPARATOR) if len(levels) > 1 else [_cell(value)]
        cells |= dict(zip(levels, parts, strict=False))
    return cells


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_mapping(path: Path, task: Task, fields: Mapping[str, list[str]], batch: str) -> None:
    columns = {**fields, "id": ["id"], "provenance.call_id": ["call_id"]}
    for name, column in task.provenance_fields.items():
        columns[f"provenance.{column}"] = columns.pop(f"target.{name}")
    content: dict[str, Any] = {"columns": columns, "constants": {"label_source": "human", "label_batch": batch}}
    if task.audio_field:
        columns[f"input.{task.audio_field}"] = ["file"]
        content["recordings"] = {"table": TABLE}
    with _opened(path, "w") as stream:
        yaml.safe_dump(content, stream, sort_keys=False, allow_unicode=True)


def _opened(path: Path, mode: str) -> Any:
    """A new file for its owner's eyes only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, mode) if "b" in mode else os.fdopen(descriptor, mode, encoding="utf-8", newline="")
