"""A replica of a writer: its task's inputs and chat requests are written by one engine, side by side."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hotline import policy, registry
from hotline.errors import HotlineError, RefusedError
from hotline.policy import Upstream
from hotline.settings import Settings
from hotline.task import Answer, Input, Task
from hotline.wishes import NOTHING, Wish
from serving.answers import no_answer, plain
from serving.chat_news import Begun, News
from serving.chat_request import ChatRequest
from serving.replica import Options, Replica
from serving.verified import private_copy

if TYPE_CHECKING:
    from serving.engines.continuous import Continuous
    from serving.engines.upstream import UpstreamEngine


def engine(model: Any, options: Options) -> Continuous:
    """What writes for many callers at once with that writer."""
    from serving.engines.continuous import Bounds, Continuous

    bounds = Bounds(rows=options.batch_rows, waiting=options.waiting, cache_bytes=options.cache_bytes)
    return Continuous(model, bounds, options.threads)


async def written(engine: Continuous | UpstreamEngine, model: Any, question: Input) -> tuple[list[int], float]:
    """What the writer's `decode` reads, as its `forward` makes it: the answer's tokens, and how sure it is of them."""
    from hotline.families import generation, writer
    from serving.engines.plans import Plan, Token

    [prompt] = writer.asked(await asyncio.to_thread(writer.prepare, model, [question]))
    sampling = model.options.root.sampling
    plan = Plan(prompt, model.chat.limits, sampling, generation.draw(sampling.seed, prompt) if sampling else None)
    tokens: list[Token] = []
    async for pieces in engine.write([plan]):
        tokens += pieces[0].tokens
    return writer.state(model, [token.number for token in tokens], [math.exp(token.logprob) for token in tokens])


class WriterReplica(Replica):
    """Answers one task, and chats, with one version."""

    _engine: Continuous | UpstreamEngine

    def _threads(self, options: Options) -> int:
        """One, which loads and warms up: the engine's thread has the rest."""
        return 1

    def _verify(self, settings: Settings, task: Task, entry: int, options: Options) -> None:
        super()._verify(settings, task, entry, options)
        self._upstream = policy.load(settings.workspace).upstream_of(task.name)

    def _in_process(self) -> bool:
        return super()._in_process() and not self._upstream

    def _load(self) -> None:
        super()._load()
        from serving.chat_plans import Planner

        self._engine = self._launched(self._settings, self._upstream) if self._upstream else self._own(self._options)
        self._planner = Planner(self._model)
        if self._model.chat.tokenizer.is_fast:
            self._planner.vocabulary.grammar({"type": "object"}, "").guide().allowed()  # its tables are made now

    def _free(self) -> None:
        self._engine.stop()
        del self._engine, self._planner
        super()._free()

    def _own(self, options: Options) -> Continuous:
        made = engine(self._model, options)
        made.watcher = self._computing
        return made

    def _launched(self, settings: Settings, upstream: Upstream) -> UpstreamEngine:
        """A server on a private copy of the version, which is checked again whenever the server is started again."""
        from hotline.families.writer import CHECKPOINT_FOLDER
        from serving.engines.launched import Server
        from serving.engines.upstream import UpstreamEngine

        whole = self._model.adapter is None
        if not whole or self._model.options.root.sampling is not None:
            raise RefusedError(
                "an upstream server cannot write for this version",
                where="upstream in policy/site.yaml",
                found="answers that were judged as drawn" if whole else "an adapter that is not merged",
                expected="whole weights and the likeliest answer",
                next="take its task out of upstream.tasks",
            )
        self._copy, address = private_copy(settings, self._warrant.model), self._warrant.model
        folder = Path(self._copy.name)
        server = Server(upstream, folder / CHECKPOINT_FOLDER, lambda: registry.check(folder, address))
        return UpstreamEngine(self._model, server, str(folder / CHECKPOINT_FOLDER))

    def __del__(self) -> None:
        super().__del__()
        if hasattr(self, "_copy"):
            self._engine.stop()
            self._copy.cleanup()

    async def answer(self, question: Input, wish: Wish = NOTHING, urgent: bool = True) -> dict[str, Any]:
        """As every replica's: `prepare` and `decode` are the family's, and the engine writes what is between them."""
        from hotline.families import writer

        async with self._held():
            state = await written(self._engine, self._model, question)
            try:
                said: list[Answer] = list(writer.decode(self._model, [state]))
            except ValidationError:
                raise no_answer(self._task) from None  # its text has what the model wrote
        return plain(said[0], wish)

    async def chat(self, asked: ChatRequest) -> AsyncIterator[Begun | list[News] | HotlineError]:
        """`Begun`, then what is written as it is; an error that the caller should see ends it."""
        try:
            async with self._held():
                planned = await asyncio.to_thread(self._planner.plan, asked)
                yield Begun(len(planned.plans[0].prompt), planned.prompt, planned.decoding)
                judged = planned.prompt == planned.decoding == "task"
                telling = [self._teller(asked, judged) for _ in planned.plans]
                async for pieces in self._engine.write(planned.plans):
                    yield [telling[number].news(number, piece) for number, piece in pieces.items()]
        except HotlineError as error:
            yield error

    def _teller(self, asked: ChatRequest, judged: bool) -> Any:
        from serving.engines.telling import Teller

        return Teller(self._model.chat, bool(asked.logprobs), judged)
