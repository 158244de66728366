"""Calls that wait for their turn at a model, and the replies that go back to them."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Call = TypeVar("Call")
Reply = TypeVar("Reply")

LIVE_SECONDS = 5.0
"""After an urgent call others are expected for so long."""


@dataclass(eq=False, frozen=True)
class Waiting(Generic[Call, Reply]):
    """A call, and what its caller waits for; a caller who gave up is told nothing."""

    call: Call
    reply: asyncio.Future[Reply]

    def tell(self, reply: Reply) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: BaseException) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class Gathering(ABC, Generic[Call, Reply]):
    """Calls are worked off in one thread while others gather."""

    def __init__(self, is_urgent: Callable[[Call], bool], thread: Executor) -> None:
        self._is_urgent, self._thread = is_urgent, thread
        self._waiting: list[Waiting[Call, Reply]] = []
        self._working: asyncio.Task[None] | None = None
        self._live_until = 0.0

    async def answer(self, call: Call) -> Reply:
        """The call's reply. Raises what the work raised for it; for a caller who gives up nothing more is computed."""
        loop = asyncio.get_running_loop()
        waiting = Waiting[Call, Reply](call, loop.create_future())
        self._waiting.append(waiting)
        if self._is_urgent(call):
            self._live_until = time.monotonic() + LIVE_SECONDS
        if self._working is None or self._working.done():
            self._working = loop.create_task(self._begin())
        return await waiting.reply

    async def _begin(self) -> None:
        await asyncio.sleep(0)  # calls that came in one go begin together
        await self._work_off()

    @abstractmethod
    async def _work_off(self) -> None:
        """Until nobody waits any more."""

    def _urgent(self) -> list[Waiting[Call, Reply]]:
        """Those that wait and are urgent, oldest first; who gave up waits no more."""
        self._waiting = [each for each in self._waiting if not each.reply.done()]
        return [each for each in self._waiting if self._is_urgent(each.call)]

    def _take(self, chosen: Iterable[Waiting[Call, Reply]]) -> None:
        """They wait no more: it is their turn."""
        taken = set(map(id, chosen))
        self._waiting = [each for each in self._waiting if id(each) not in taken]

    def _is_live(self) -> bool:
        """Whether urgent calls are expected."""
        return time.monotonic() < self._live_until
