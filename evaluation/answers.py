"""Answers of a version to rows: from its verified bytes, with a progress bar, kept in a file that verdicts name."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from hotline import families, registry
from hotline.digests import canonical_json
from hotline.errors import RefusedError
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Answer, Input, Task

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH_ROWS = 64
SCHEMA = pa.schema(
    {
        "system": pa.string(),
        "id": pa.string(),
        "answer": pa.string(),
        "confidence": pa.float64(),
        "alternatives": pa.string(),
    }
)


@dataclass
class Pace:
    """How long answering took, and how much sound was answered. It is no part of a verdict: times differ."""

    compute_seconds: float = 0.0
    audio_seconds: float = 0.0

    @property
    def figures(self) -> dict[str, float]:
        """`rtf`, seconds of computing per second of sound; nothing for tasks without sound."""
        return {"rtf": self.compute_seconds / self.audio_seconds} if self.audio_seconds else {}


def answer_rows(
    settings: Settings,
    client: MlflowClient,
    task: Task,
    address: ModelAddress,
    inputs: Sequence[Input],
    *,
    progress: bool = True,
    pace: Pace | None = None,
) -> list[Answer]:
    """What the registered version answers, in the order of `inputs`, from a copy whose bytes were checked.

    `pace` is told how long that took, without loading.
    Raises IntegrityError for bytes or a declaration that differ, RefusedError for a model whose answers are none.
    """
    folder = registry.fetch(client, address, settings.verified)
    family = families.find(task.family)
    model = family.load(folder, task)
    answers: list[Answer] = []
    with _bar(f"{address.line}@{address.version}", len(inputs), progress) as advance:
        for start in range(0, len(inputs), BATCH_ROWS):
            batch = inputs[start : start + BATCH_ROWS]
            began = time.perf_counter()
            try:
                answers += families.answer(family, model, batch, BATCH_ROWS)
            except ValidationError as error:
                raise RefusedError(
                    f"{address.line}@{address.version}: the model does not answer as {task.name} declares",
                    where=f"test rows {start + 1} to {start + len(batch)}",
                    found=error,
                    next=f"hotline train {address.line}",
                ) from error
            if pace is not None and task.audio_field:
                pace.compute_seconds += time.perf_counter() - began
                pace.audio_seconds += sum(getattr(input, task.audio_field).seconds for input in batch)
            advance(len(batch))
    return answers


@contextmanager
def _bar(name: str, total: int, progress: bool) -> Iterator[Any]:
    """A bar on stderr that is gone when it is done; nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("answering [bold]{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = progress and sys.stderr.isatty()
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True, disable=not shown
    ) as bar:
        task = bar.add_task(name, total=total)
        yield lambda rows: bar.advance(task, rows)


def save(path: Path, ids: Sequence[str], answers: Mapping[str, Sequence[Answer]]) -> None:
    """One row per system and row id; the same answers always make the same bytes."""
    records = [
        {
            "system": system,
            "id": id,
            "answer": canonical_json(answer.target.model_dump(mode="json")),
            "confidence": answer.confidence,
            "alternatives": canonical_json([[t.model_dump(mode="json"), p] for t, p in answer.alternatives]),
        }
        for system, given in answers.items()
        for id, answer in zip(ids, given, strict=False)  # fewer answers than rows are named when the file is read
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), path)


def read(path: Path, task: Task, ids: Sequence[str], systems: Sequence[str]) -> dict[str, list[Answer]]:
    """The answers of each system in the order of `ids`. Raises RefusedError unless every row has exactly one."""
    found: dict[str, dict[str, Answer]] = {system: {} for system in systems}
    records = pq.read_table(path, schema=SCHEMA).to_pylist()
    for record in records:
        found.setdefault(record["system"], {})[record["id"]] = _answer(task, record)
    for system, answers in found.items():
        missing = [id for id in ids if id not in answers]
        if missing or len(answers) != len(ids):
            raise RefusedError(
                f"the file of answers is incomplete: {system} did not answer every test row",
                where=str(path),
                found=f"{len(answers)} answers" + (f", none for {missing[0]}" if missing else ""),
                expected=f"{len(ids)} answers",
                next="hotline judge it again",
            )
    return {system: [answers[id] for id in ids] for system, answers in found.items()}


def _answer(task: Task, record: Mapping[str, Any]) -> Answer:
    alternatives = json.loads(record["alternatives"])
    return Answer(
        target=task.target.model_validate_json(record["answer"]),
        confidence=record["confidence"],
        alternatives=tuple((task.target.model_validate(target), share) for target, share in alternatives),
    )
