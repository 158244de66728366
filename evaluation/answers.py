"""Answers of a version to rows: from its verified bytes, batch by batch, kept in a file that verdicts name."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from evaluation import costs
from hotline import families, registry
from hotline.costs import Cost
from hotline.digests import canonical_json
from hotline.errors import RefusedError
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Answer, Input, Task

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

BATCH_ROWS = 64
GROUP_ROWS = 65_536
"""Rows that are turned into a file, or back, at a time."""
SCHEMA = pa.schema(
    {
        "system": pa.string(),
        "id": pa.string(),
        "answer": pa.string(),
        "confidence": pa.float64(),
        "alternatives": pa.string(),
        "cost": pa.string(),
    }
)
PARTS = SCHEMA.append(pa.field("answered_by", pa.string()))
"""Of versions that are made of several; of others no answer says by which part, and the file has no such column."""


@dataclass
class Pace:
    """How long answering took, and how much sound was answered. It is no part of a verdict: times differ."""

    compute_seconds: float = 0.0
    audio_seconds: float = 0.0

    @property
    def figures(self) -> dict[str, float]:
        """`rtf`, seconds of computing per second of sound; nothing for tasks without sound."""
        return {"rtf": self.compute_seconds / self.audio_seconds} if self.audio_seconds else {}


@dataclass(frozen=True)
class Batch:
    """Inputs that are answered together, from row `start`: always the same ones, wherever and whenever."""

    start: int
    inputs: Sequence[Input]

    @property
    def where(self) -> str:
        return f"test rows {self.start + 1} to {self.start + len(self.inputs)}"


@dataclass(frozen=True)
class Reply:
    """The answers to the batch from row `start`, in order, and the seconds of computing that they took."""

    start: int
    answers: Sequence[Answer]
    seconds: float


Answerer = Callable[[Settings, Task, ModelAddress, Sequence[Batch]], Iterable[Reply]]
"""Answers every batch, in any order, with a version whose verified bytes lie in `Settings.verified`."""


class Keeper(Protocol):
    """Where replies outlive a process that is killed."""

    def replies(self, batches: Sequence[Batch]) -> list[Reply]:
        """Those that were kept whole."""

    def keep(self, reply: Reply) -> None: ...


def answer_rows(
    settings: Settings,
    client: MlflowClient,
    task: Task,
    address: ModelAddress,
    inputs: Sequence[Input],
    *,
    progress: bool = True,
    pace: Pace | None = None,
    keeper: Keeper | None = None,
    answerer: Answerer | None = None,
) -> list[Answer]:
    """What the registered version answers, in the order of `inputs`, from a copy whose bytes were checked.

    Batches that `keeper` has are not answered again. `pace` is told how long all of them took, without loading; of a
    kept one, how long it took then. `answerer` is where it is done, by default in this process.
    Raises IntegrityError for bytes or a declaration that differ, RefusedError for a model whose answers are none.
    """
    registry.fetch(client, address, settings.verified)
    batches = [Batch(start, inputs[start : start + BATCH_ROWS]) for start in range(0, len(inputs), BATCH_ROWS)]
    replies = {reply.start: reply for reply in (keeper.replies(batches) if keeper else ())}
    missing = [batch for batch in batches if batch.start not in replies]
    with bar(f"{address.line}@{address.version}", len(inputs), progress) as advance:
        advance(sum(len(reply.answers) for reply in replies.values()))
        for reply in (answerer or here)(settings, task, address, missing) if missing else ():
            if keeper is not None:
                keeper.keep(reply)
            replies[reply.start] = reply
            advance(len(reply.answers))
    if pace is not None and task.audio_field:
        pace.compute_seconds += sum(reply.seconds for reply in replies.values())
        pace.audio_seconds += sum(getattr(given, task.audio_field).seconds for given in inputs)
    return [answer for batch in batches for answer in replies[batch.start].answers]


def here(settings: Settings, task: Task, address: ModelAddress, batches: Sequence[Batch]) -> Iterator[Reply]:
    """The batches' answers in order, computed in this process."""
    return map(loaded(settings, task, address), batches)


def loaded(settings: Settings, task: Task, address: ModelAddress) -> Callable[[Batch], Reply]:
    """The version, loaded from its verified bytes, as what answers a batch."""
    family, model = families.load(settings.verified / address.digest, task)

    def reply(batch: Batch) -> Reply:
        began = time.perf_counter()
        try:
            if task.timed:
                said = costs.answer_each(family, model, task, batch.inputs)
            else:
                said = families.answer(family, model, batch.inputs, BATCH_ROWS)
        except ValidationError as error:
            raise RefusedError(
                f"{address.line}@{address.version}: the model does not answer as {task.name} declares",
                where=batch.where,
                found=error,
                next=f"hotline train {address.line}",
            ) from error
        return Reply(batch.start, said, time.perf_counter() - began)

    return reply


@contextmanager
def bar(name: str, total: int, progress: bool) -> Iterator[Any]:
    """A bar on stderr that is gone when it is done; nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("answering [bold]{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = progress and sys.stderr.isatty()
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True, disable=not shown
    ) as shown_bar:
        task = shown_bar.add_task(name, total=total)
        yield lambda rows: shown_bar.advance(task, rows)


def save(path: Path, ids: Sequence[str], answers: Mapping[str, Sequence[Answer]]) -> None:
    """One row per system and row id; the same answers always make the same bytes."""
    schema = schema_of([answer for given in answers.values() for answer in given[:1]])
    records = (
        record(system, id, answer)
        for system, given in answers.items()
        for id, answer in zip(ids, given, strict=False)  # fewer answers than rows are named when the file is read
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema) as writer:
        for group in _groups(records):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def schema_of(answers: Sequence[Answer]) -> pa.Schema:
    """SCHEMA, or PARTS when any of the answers says which part gave it."""
    return PARTS if any(answer.answered_by for answer in answers) else SCHEMA


def record(system: str, id: str, answer: Answer) -> dict[str, Any]:
    """An answer as a row of SCHEMA or PARTS."""
    return {
        "system": system,
        "id": id,
        "answer": canonical_json(answer.target.model_dump(mode="json")),
        "confidence": answer.confidence,
        "alternatives": canonical_json([[t.model_dump(mode="json"), p] for t, p in answer.alternatives]),
        "cost": canonical_json(answer.cost.model_dump(mode="json")) if answer.cost else None,
        "answered_by": answer.answered_by,
    }


def read(path: Path, task: Task, ids: Sequence[str], systems: Sequence[str]) -> dict[str, list[Answer]]:
    """The answers of each system in the order of `ids`. Raises RefusedError unless every row has exactly one."""
    found: dict[str, dict[str, Answer]] = {system: {} for system in systems}
    for group in pq.ParquetFile(path).iter_batches(GROUP_ROWS):
        for each in group.to_pylist():
            found.setdefault(each["system"], {})[each["id"]] = answer_of(task, each)
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


def answer_of(task: Task, record: Mapping[str, Any]) -> Answer:
    """The answer that a row of SCHEMA or PARTS holds."""
    alternatives = json.loads(record["alternatives"])
    return Answer(
        target=task.target.model_validate_json(record["answer"]),
        confidence=record["confidence"],
        alternatives=tuple((task.target.model_validate(target), share) for target, share in alternatives),
        cost=Cost.model_validate_json(record["cost"]) if record["cost"] else None,
        answered_by=record.get("answered_by"),
    )


def _groups(records: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(records)
    while group := list(islice(remaining, GROUP_ROWS)):
        yield group
