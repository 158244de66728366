"""Dynamic batching: while one batch is computed the next one gathers, and calls of like size go together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Call = TypeVar("Call")
Reply = TypeVar("Reply")


@dataclass(eq=False, frozen=True)
class _Waiting(Generic[Call, Reply]):
    call: Call
    size: float
    reply: asyncio.Future[Reply]


class Batcher(Generic[Call, Reply]):
    """Answers calls with `work`, which is given one batch at a time, in a thread of its own.

    A call that finds nothing at work does not wait. Of the calls that wait, the oldest urgent one leads the next batch,
    or the oldest where none is urgent, so none waits for ever; those nearest to it in size join while they fit, so that
    little is padded.
    """

    def __init__(
        self,
        work: Callable[[list[Call]], Sequence[Reply]],
        size: Callable[[Call], float],
        fits: Callable[[int, float], bool],
        is_urgent: Callable[[Call], bool] = lambda _: True,
    ) -> None:
        """`fits` says whether so many calls, the largest of that size, are one batch; one call alone always is."""
        self._work, self._size, self._fits, self._is_urgent = work, size, fits, is_urgent
        self._waiting: list[_Waiting[Call, Reply]] = []
        self._thread = ThreadPoolExecutor(1, "batches")
        self._working: asyncio.Task[None] | None = None

    async def answer(self, call: Call) -> Reply:
        """The call's reply. Raises what `work` raises for its batch; a caller who gives up is not computed for."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting[Call, Reply](call, self._size(call), loop.create_future())
        self._waiting.append(waiting)
        if self._working is None or self._working.done():
            self._working = loop.create_task(self._work_off())
        return await waiting.reply

    async def _work_off(self) -> None:
        await asyncio.sleep(0)  # calls that came in one go begin together
        while batch := self._next():
            calls = [each.call for each in batch]
            computing = asyncio.get_running_loop().run_in_executor(self._thread, self._work, calls)
            await asyncio.wait([computing])
            error = computing.exception()
            awaited = [(number, each.reply) for number, each in enumerate(batch) if not each.reply.done()]
            for number, reply in awaited:
                if error:
                    reply.set_exception(error)
                else:
                    reply.set_result(computing.result()[number])

    def _next(self) -> list[_Waiting[Call, Reply]]:
        """The batch to compute now, taken out of those that wait."""
        self._waiting = [each for each in self._waiting if not each.reply.done()]
        urgent = [each for each in self._waiting if self._is_urgent(each.call)] or self._waiting
        if not urgent:
            return []
        leader = urgent[0]
        batch, largest = [leader], leader.size
        for each in sorted(urgent, key=lambda other: abs(other.size - leader.size)):
            if each is not leader and self._fits(len(batch) + 1, max(largest, each.size)):
                batch.append(each)
                largest = max(largest, each.size)
        taken = set(map(id, batch))
        self._waiting = [each for each in self._waiting if id(each) not in taken]
        return batch
