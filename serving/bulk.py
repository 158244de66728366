"""Jobs: a table of inputs answered in the background, behind the callers who wait, and resumed after a restart.

`<state>/jobs/<id>/` holds `job.json`, `input.jsonl` and `result.jsonl`, which grows by a line for every line of the
input; what was written is not asked again. Inputs and answers lie there unencrypted, for their owner's eyes only (mode
0700), until they are deleted or KEPT_SECONDS have passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from hotline import requests, tasks
from hotline.errors import InputError, UnavailableError, UnknownName
from hotline.policy import Limits
from hotline.task import Task
from serving import batches, switchboard
from serving.admission import URGENT
from serving.bodies import Body
from serving.locks import locked
from serving.strict import read_json
from serving.switchboard import Switchboard

log = logging.getLogger("ray.serve")

ROWS_AT_ONCE = 8
LULL_SECONDS = 1.0
"""How long callers may keep a job waiting before it takes its next few rows all the same."""
RETRY_SECONDS = 5.0
KEPT_SECONDS = 72 * 3600.0
MOST_JOBS = 100
BUSY = {"unavailable", "too_many_calls"}
Status = Literal["waiting", "running", "done"]


class Job(Body):
    """A table on its way."""

    id: str = Field(description="SHA-256 of the task's name and the table: the same table is the same job")
    task: str
    created: int = Field(description="Seconds since 1970")
    expires: int = Field(description="When its inputs and results are deleted, in seconds since 1970")
    lines: int
    done: int
    status: Status


class Jobs:
    """The jobs of this workspace, run one after another by one of the ingress processes."""

    def __init__(self, folder: Path, known: Switchboard, limits: Limits) -> None:
        self._folder, self._switchboard, self._limits = folder, known, limits
        self._current: str | None = None
        self._work: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The switchboard follows the map, and jobs are worked on, inside of this context."""
        async with switchboard.running(self._switchboard):
            worker = asyncio.create_task(self._run())
            try:
                yield
            finally:
                worker.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await worker

    def create(self, task: Task, table: bytes) -> Job:
        """The job of this table, the same one when it is given again. Raises InputError, UnavailableError."""
        if task.audio_field:
            raise InputError("recordings are answered one at a time", where="body.task", next="hotline transcribe")
        name = hashlib.sha256(task.name.encode() + b"\n" + table).hexdigest()
        if not (self._folder / name).is_dir():
            self._store(name, task, table)
        return self.find(name)

    def find(self, name: str) -> Job:
        """Raises UnknownName."""
        try:
            said = json.loads((self._place(name) / "job.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise UnknownName("there is no such job", next="POST /v1/jobs") from error
        done = _lines(self._place(name) / "result.jsonl")
        status: Status = "done" if done >= said["lines"] else "running" if name == self._current else "waiting"
        return Job(id=name, done=done, status=status, expires=said["created"] + int(KEPT_SECONDS), **said)

    def result(self, name: str) -> Path:
        """The file of answers so far."""
        return self._place(name) / "result.jsonl"

    async def delete(self, name: str) -> None:
        """Its table and its answers are gone. Raises UnknownName."""
        self.find(name)
        if name == self._current and self._work:
            self._work.cancel()
            await asyncio.wait([self._work])
        shutil.rmtree(self._place(name), ignore_errors=True)

    def _place(self, name: str) -> Path:
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise UnknownName("there is no such job", expected="the id that POST /v1/jobs gave", next="POST /v1/jobs")
        return self._folder / name

    def _store(self, name: str, task: Task, table: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if sum(1 for _ in self._folder.iterdir()) >= MOST_JOBS:
            raise UnavailableError("too many jobs are kept", found=MOST_JOBS, next="DELETE /v1/jobs/{id} of old ones")
        lines = table.count(b"\n") + (not table.endswith(b"\n") and bool(table))
        if not lines:
            raise InputError("the table is empty", where="body.file", expected="one JSON object a line")
        partial = self._folder / f".{secrets.token_hex(8)}"
        partial.mkdir(mode=0o700)
        (partial / "input.jsonl").write_bytes(table)
        (partial / "result.jsonl").touch()
        said = {"task": task.name, "created": int(time.time()), "lines": lines}
        (partial / "job.json").write_text(json.dumps(said), encoding="utf-8")
        with contextlib.suppress(OSError):  # somebody stored the same table meanwhile
            partial.rename(self._folder / name)
        shutil.rmtree(partial, ignore_errors=True)

    async def _run(self) -> None:
        """Work on the oldest open job, again and again; another process may hold the lock."""
        while True:
            await asyncio.sleep(0.2)
            for name in self._open():
                with locked(self._place(name) / "lock") as mine:
                    if mine:
                        self._current = name
                        await self._work_on(name)

    async def _work_on(self, name: str) -> None:
        """Until the job is done, deleted, or this process ends."""
        self._current, self._work = name, asyncio.create_task(self._answer(name))
        try:
            await asyncio.wait([self._work])
            if not self._work.cancelled() and (error := self._work.exception()):
                log.error("job %s stopped; it is taken up again", name, exc_info=error)
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._work.cancel()
            self._current = None

    def _open(self) -> list[str]:
        """Names of jobs with lines to answer, oldest first; expired ones are deleted."""
        found = []
        for place in self._folder.glob("[0-9a-f]*"):
            with contextlib.suppress(UnknownName):
                job = self.find(place.name)
                if job.expires < time.time():
                    shutil.rmtree(place, ignore_errors=True)
                elif job.status != "done":
                    found.append(job)
        return [job.id for job in sorted(found, key=lambda job: job.created)]

    async def _answer(self, name: str) -> None:
        """Answer what is left, a few lines at a time, in order."""
        job, place = self.find(name), self._place(name)
        task = tasks.find(job.task)
        _drop_torn(place / "result.jsonl")
        with (place / "input.jsonl").open("rb") as table, (place / "result.jsonl").open("ab") as results:
            left = enumerate(itertools.islice(table, job.done, None), start=job.done + 1)
            while some := list(itertools.islice(left, ROWS_AT_ONCE)):
                results.write(b"".join(_line(said) for said in await self._answers(task, some)))
                results.flush()

    async def _answers(self, task: Task, some: Sequence[tuple[int, bytes]]) -> list[dict[str, Any]]:
        """The lines' answers or errors; a version that does not answer now is waited for."""
        while True:
            await self._switchboard.lull(LULL_SECONDS)
            answers = await asyncio.gather(*(self._one(task, *each) for each in some))
            if not any(said.get("error", {}).get("code") in BUSY for said in answers):
                return list(answers)
            await asyncio.sleep(RETRY_SECONDS)

    async def _one(self, task: Task, number: int, content: bytes) -> dict[str, Any]:
        try:
            row = self._row(number, content)
        except InputError as error:
            return {"line": number, "error": error.as_dict()}
        URGENT.set(False)
        with self._switchboard.call(bulk=True) as known:
            route = known.routes.get(task.name)
            if route is None:
                return {"line": number, "error": UnavailableError("no version may answer").as_dict()}
            said = await batches.answered(self._switchboard, route, task, row)
            answer = {} if "error" in said else {"id": requests.make(task.name, route.digest, route.promotion)}
        return {"line": number, **answer, **said}

    def _row(self, number: int, content: bytes) -> Any:
        most = self._limits.body_bytes
        if len(content) > most:
            raise InputError("the line is too long", where=f"line {number}", expected=f"at most {most} bytes")
        return read_json(content)


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode() + b"\n"


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return 0


def _drop_torn(path: Path) -> None:
    """Cut off a last line that was not written whole."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
