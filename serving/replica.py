"""A replica: one copy of one judged version. It verifies by itself what it was asked to serve, or refuses to start."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from ray import get_runtime_context, serve

from hotline import families, memory, policy, tasks
from hotline.errors import HotlineError, UnavailableError
from hotline.settings import Settings
from hotline.task import Answer, Input, Task
from hotline.wishes import NOTHING, Abilities, Wish
from serving import routes, warming
from serving.answers import no_answer, plain
from serving.engines import engine, threads
from serving.engines.batching import Batcher
from serving.engines.engine import Engine, EngineName, TritonPlace
from serving.engines.joining import Joining
from serving.residence import Residence
from serving.verified import check_declaration, private_copy, verify
from serving.watch.computing import Computing

log = logging.getLogger("ray.serve")

WATCH_SECONDS = 1.0
HEALTH_SECONDS = 2.0
"""A replica that was killed is found missing after so long, and started again."""


class Options(BaseModel):
    """What one replica may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_rows: int = 32
    batch_seconds: float = 60.0
    """Sound in one batch at most, padding included (rows times the longest one); more gains little on a CPU."""
    waiting: int = 256
    """Texts that wait to be written; a writer refuses more."""
    cache_bytes: int = 1024**3
    """Keys and values of the texts that are written at once."""
    threads: int = 1
    resident_bytes: int | None = None
    """Of a site's models in a machine's memory: those asked least recently make room. None: all stay."""
    copies: dict[str, tuple[int, int]] = {}
    """Fewest and most replicas of a version, by task, as its load asks for; one where nothing is named."""
    ongoing: int = 128
    """Calls that a replica takes at once; more wait in the ingress, up to the policy's queue."""
    drain_seconds: float = 30.0
    engines: dict[str, EngineName] = {}
    """What supplies `forward`, by task; in process where nothing is named."""
    triton: TritonPlace | None = None

    def fits(self, calls: int, longest: float) -> bool:
        """Whether so many recordings, padded to the longest of them, are one batch. One alone always is."""
        return calls <= self.batch_rows and (calls == 1 or calls * longest <= self.batch_seconds)


class Asked(NamedTuple):
    """One call: the input, and what its caller wishes for beside."""

    question: Input
    wish: Wish
    urgent: bool = True

    def size(self) -> float:
        return families.size(self.question)


class Replica:
    """Answers one task with one version."""

    _residence: Residence | None = None

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, settings: Settings, task: str, entry: int, options: Options
    ) -> None:
        memory.keep_freed()
        self._thread = threads.one(self._threads(options))
        try:
            await self._computed(self._verify, settings, tasks.find(task), entry, options)
            if options.resident_bytes is not None and self._in_process():
                self._residence = self._place(_table(settings), options.resident_bytes)
                await self._residence.enter()
            else:
                await self._computed(self._load)
        except Exception as error:
            reason = str(error) if isinstance(error, HotlineError) else f"{type(error).__name__}: {error}"
            await _table(settings).refuse.remote(serve.get_replica_context().app_name, reason)
            raise
        if options.engines.get(task, "in process") != "in process":
            self._watching = asyncio.create_task(self._watch())

    async def _computed(self, work: Callable[..., None], *given: Any) -> None:
        """In the thread where the model is, whenever it is in memory."""
        await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *given))

    def _threads(self, options: Options) -> int:
        """What the thread computes with that loads the model and answers batches: no other one does."""
        return options.threads

    def _verify(self, settings: Settings, task: Task, entry: int, options: Options) -> None:
        """Whether the ledger lets this version answer; it is asked once. Raises RefusedError, IntegrityError."""
        self._task, self._settings, self._options = task, settings, options
        self._warrant = verify(settings, task, entry)
        self._computing = Computing(settings, task.name, self._warrant.model)
        files = (settings.verified / self._warrant.model.digest).rglob("*")
        self._size = sum(path.stat().st_size for path in files if path.is_file())

    def _load(self) -> None:
        """The model into memory, from bytes that are checked each time. Raises IntegrityError."""
        task, options = self._task, self._options
        name, model = options.engines.get(task.name, "in process"), self._warrant.model
        self._model: Any
        with private_copy(self._settings, model) as folder:
            check_declaration(Path(folder), task)
            self._family, self._model = families.load(Path(folder), task)
            self._runner: Engine = engine.find(task, self._family, model.digest, name, options.triton)
            self._runner.open(Path(folder), self._model)
        self._able = families.abilities(self._family, self._model)
        fits = (options if task.audio_field else options.model_copy(update={"batch_seconds": math.inf})).fits
        batches = Batcher(self._counted, Asked.size, fits, attrgetter("urgent"), self._thread)
        self._batches = self._joining(options) or batches
        self._warm_up(options)
        self._computing.resident(self._size)

    def _joining(self, options: Options) -> Joining[Asked, Answer | Exception] | None:
        """For a model that writes answers side by side; None for others."""
        offered = getattr(self._family, "listening", None)
        rows = offered(self._model, options.cache_bytes) if offered else None
        if rows is None:
            return None
        wanted, urgent = attrgetter("question", "wish"), attrgetter("urgent")
        return Joining(rows, wanted, options.batch_rows, self._alone, urgent, self._thread, self._computing)

    def _alone(self, call: Asked) -> Answer | Exception:
        return self._each([call])[0]

    def _free(self) -> None:
        """The model out of memory; nobody is being answered."""
        self._runner.close()
        if isinstance(self._batches, Joining):
            self._batches.end()
        del self._runner, self._batches, self._model
        memory.give_back()
        self._computing.resident(0)

    def _in_process(self) -> bool:
        """Whether the model's weights are this process's own, which may let them go."""
        return self._options.engines.get(self._task.name, "in process") == "in process"

    def _place(self, table: Any, limit: int) -> Residence:
        name = serve.get_replica_context().replica_id.to_full_id_str(), get_runtime_context().get_node_id()
        load, free = partial(self._computed, self._load), partial(self._computed, self._free)
        return Residence(table, name, self._size, limit, load, free)

    def _held(self) -> AbstractAsyncContextManager[None]:
        """The model is in memory inside of this context. Raises UnavailableError."""
        return self._residence.held() if self._residence else nullcontext()

    def _warm_up(self, options: Options) -> None:
        """Answer the task's examples in the way in which callers will be answered."""
        for rows in warming.batches(self._task, options):
            warm_up = self._batches.warm_up if isinstance(self._batches, Joining) else self._answers
            warm_up([Asked(row, NOTHING) for row in rows])

    def identity(self) -> str:
        """The digest of the bytes that answer here."""
        return self._warrant.model.digest

    def abilities(self) -> Abilities:
        """What this version is able to do beside answering."""
        return self._able

    async def answer(self, question: Input, wish: Wish = NOTHING, urgent: bool = True) -> dict[str, Any]:
        """The answer to one call, as `Answer` in plain values. Raises what the family raised for this very input."""
        async with self._held():
            reply = await self._batches.answer(Asked(question, wish, urgent))
        if isinstance(reply, Exception):
            raise reply
        return plain(reply, wish)

    def _counted(self, calls: Sequence[Asked]) -> list[Answer | Exception]:
        with self._computing.batch(len(calls)):
            return self._each(calls)

    def _each(self, calls: Sequence[Asked]) -> list[Answer | Exception]:
        """Answers in order; when the batch fails, each row alone, so that one bad input harms no other caller."""
        try:
            return list(self._answers(calls))
        except UnavailableError as error:  # the engine's: none of these calls did it
            return [error] * len(calls)
        except Exception as error:
            if len(calls) > 1:
                return [reply for call in calls for reply in self._each([call])]
            if isinstance(error, ValidationError):
                return [no_answer(self._task)]
            log.exception("an input could not be answered")
            return [RuntimeError("the model could not answer this input")]

    def _answers(self, calls: Sequence[Asked]) -> list[Answer]:
        questions, wishes = [call.question for call in calls], [call.wish for call in calls]
        rows = max(len(calls), 1)
        return families.answer(self._family, self._model, questions, rows, wishes, self._runner.forward)

    async def _watch(self) -> None:
        """Say why the engine does not answer, while it does not; it is opened again as soon as it can be."""
        told, app, table = None, serve.get_replica_context().app_name, _table(self._settings)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            why = await asyncio.to_thread(self._mended)
            if why != told:
                log.error("%s", why or "the engine answers again")
                await table.ail.remote(app, why)
                told = why

    def _mended(self) -> str | None:
        """None while the engine answers with these bytes, or does again; else why not."""
        try:
            self._runner.check()
        except HotlineError:
            try:
                with private_copy(self._settings, self._warrant.model) as folder:
                    self._runner.open(Path(folder), self._model)
            except HotlineError as error:
                return str(error)
        return None

    def __del__(self) -> None:
        """Ray Serve calls it when the replica ends."""
        if hasattr(self, "_runner"):
            self._runner.close()
        if self._residence:
            self._residence.close()


def _table(settings: Settings) -> Any:
    """The route table of the workspace's site."""
    return routes.find(policy.load(settings.workspace).site)
