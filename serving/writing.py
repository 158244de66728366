"""A replica of a writer: its task's inputs and chat requests are written by one engine, side by side."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

from pydantic import ValidationError

from hotline.errors import HotlineError
from hotline.settings import Settings
from hotline.task import Answer, Input, Task
from hotline.wishes import NOTHING, Wish
from serving.chat_news import Begun, News
from serving.chat_request import ChatRequest
from serving.replica import Options, Replica, no_answer, plain


class WriterReplica(Replica):
    """Answers one task, and chats, with one version."""

    def _start(self, settings: Settings, task: Task, entry: int, options: Options) -> None:
        super()._start(settings, task, entry, options)
        from serving.chat_plans import Planner
        from serving.engines.continuous import Bounds, Continuous

        bounds = Bounds(rows=options.batch_rows, waiting=options.waiting, cache_bytes=options.cache_bytes)
        self._engine, self._planner = Continuous(self._model, bounds), Planner(self._model)
        if self._model.chat.tokenizer.is_fast:
            self._planner.vocabulary.grammar({"type": "object"}, "").guide().allowed()  # its tables are made now

    async def answer(self, question: Input, wish: Wish = NOTHING) -> dict[str, Any]:
        """As every replica's: `prepare` and `decode` are the family's, and the engine writes what is between them."""
        from hotline.families import generation, writer
        from serving.engines.plans import Plan, Token

        model = self._model
        [prompt] = writer.asked(await asyncio.to_thread(writer.prepare, model, [question]))
        sampling = model.options.root.sampling
        plan = Plan(prompt, model.chat.limits, sampling, generation.draw(sampling.seed, prompt) if sampling else None)
        tokens: list[Token] = []
        async for pieces in self._engine.write([plan]):
            tokens += pieces[0].tokens
        shares = [math.exp(token.logprob) for token in tokens]
        try:
            said: list[Answer] = list(writer.decode(model, [writer.state(model, [t.number for t in tokens], shares)]))
        except ValidationError:
            raise no_answer(self._task) from None  # its text has what the model wrote
        return plain(said[0], wish)

    async def chat(self, asked: ChatRequest) -> AsyncIterator[Begun | list[News] | HotlineError]:
        """`Begun`, then what is written as it is; an error that the caller should see ends it."""
        try:
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
