"""An evaluation that was interrupted goes on: its answers are kept batch by batch until its verdict is recorded.

Candidate and champion answer the same rows in one go, and old numbers are never compared with new ones. That holds
here, too: what is kept belongs to one evaluation, named by everything that decides its answers (both versions' digests,
the rows in their order, the declaration, the code, the libraries, the kind of machine), no figure was ever made of it,
and it is removed with the verdict. Whatever of that differs is another evaluation, which starts from nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import logging
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation import answers
from evaluation.answers import Batch, Reply
from hotline import digests
from hotline.records import ModelAddress
from hotline.settings import CODE_ROOT, Settings
from hotline.task import Task

if TYPE_CHECKING:
    from data.store import Rows

CODE_PACKAGES = ("hotline", "data", "evaluation")
TOLD = b"hotline"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """What one system answered so far: a file per batch, whose name has the digest of its bytes."""

    folder: Path
    task: Task
    name: str
    ids: Sequence[str]

    def replies(self, batches: Sequence[Batch]) -> list[Reply]:
        """Those of the batches that were kept whole; a torn or foreign file is not one, and is answered again."""
        found = [reply for batch in batches if (reply := self._read(batch)) is not None]
        rows = sum(len(reply.answers) for reply in found)
        if rows:
            log.info("%s: %d rows were answered before the interruption and are kept", self.name, rows)
        return found

    def keep(self, reply: Reply) -> None:
        """Write the reply under a name that appears only when it is whole."""
        content = encode(self.ids[reply.start :], reply)
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / f".{reply.start:09d}"
        scratch.write_bytes(content)
        scratch.rename(self.folder / f"{reply.start:09d}-{hashlib.sha256(content).hexdigest()}.parquet")

    def _read(self, batch: Batch) -> Reply | None:
        ids = self.ids[batch.start : batch.start + len(batch.inputs)]
        for path in self.folder.glob(f"{batch.start:09d}-*.parquet"):
            content = path.read_bytes()
            if path.stem.endswith(hashlib.sha256(content).hexdigest()):
                return decode(self.task, batch.start, ids, content)
            log.warning("a kept part is torn and is answered again: %s", path)
            path.unlink()
        return None


@dataclass(frozen=True)
class Evaluation:
    """One candidate, perhaps against one champion, on one set of rows."""

    folder: Path
    task: Task
    ids: Sequence[str]
    systems: Mapping[str, ModelAddress]

    def of(self, system: str) -> Kept:
        """What that system, candidate or champion, answered so far."""
        address = self.systems[system]
        return Kept(self.folder / system, self.task, f"{address.line}@{address.version}", self.ids)


@contextmanager
def evaluation(
    settings: Settings,
    task: Task,
    systems: Mapping[str, ModelAddress],
    rows: Rows,
    libraries: Mapping[str, str],
    on: str,
) -> Iterator[Evaluation]:
    """The place of this evaluation's answers, removed when the block ends well; a second process waits for the first.

    The first of `systems` is the candidate. What another evaluation of its line on the task left is removed.
    """
    line = next(iter(systems.values())).line
    place = settings.state / "evaluations" / line / task.name
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        folder = place / _digest(task, systems, rows, libraries, on)
        for other in place.iterdir():
            if other.is_dir() and other != folder:
                shutil.rmtree(other)
        yield Evaluation(folder, task, rows.ids, systems)
        shutil.rmtree(folder, ignore_errors=True)


def _digest(task: Task, systems: Mapping[str, ModelAddress], rows: Rows, libraries: Mapping[str, str], on: str) -> str:
    """Of everything that decides what is answered."""
    pairs = zip(rows.ids, rows.inputs, strict=True)
    asked = [digests.of_value([id, given.model_dump(mode="json")]) for id, given in pairs]
    return digests.of_value(
        {
            "systems": {name: address.digest for name, address in systems.items()},
            "task": task.declaration(),
            "rows": [rows.digest, digests.of_value(asked)],
            "batch": answers.BATCH_ROWS,
            "libraries": dict(libraries),
            "code": digests.of_code(CODE_ROOT, CODE_PACKAGES),
            "machine": [platform.machine(), _accelerator(), on],
        }
    )


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def encode(ids: Sequence[str], reply: Reply) -> bytes:
    """The reply as a Parquet file as `answers.save` writes; `ids` begin with those of its rows."""
    schema = answers.schema_of(reply.answers)
    records = [answers.record("", id, answer) for id, answer in zip(ids, reply.answers, strict=False)]
    told = json.dumps({"seconds": reply.seconds}).encode()
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records, schema=schema).replace_schema_metadata({TOLD: told}), sink)
    return sink.getvalue()


def decode(task: Task, start: int, ids: Sequence[str], content: bytes) -> Reply | None:
    """The reply that the file holds; None when it is about other rows."""
    table = pq.read_table(io.BytesIO(content))
    if table.column("id").to_pylist() != list(ids):
        return None
    told: dict[str, Any] = json.loads(table.schema.metadata[TOLD])
    return Reply(start, [answers.answer_of(task, each) for each in table.to_pylist()], told["seconds"])
