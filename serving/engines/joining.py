"""Answers that are written side by side: a call joins those that are being written, and its reply leaves when it ends.

For families that offer rows: a short recording does not wait for a long one, and the weights, which are read for every
symbol, are read for all of them at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeAlias

from hotline.families import Rows
from serving.engines.gathering import Call, Gathering, Reply, Waiting
from serving.engines.watcher import Watcher

log = logging.getLogger("ray.serve")

Tell: TypeAlias = Callable[[Waiting[Call, Reply], Reply], None]
GROUP = 8
"""Calls that begin together at most: on a CPU more at once gain nothing, and hold up those that are being written."""
STEPS = 4
"""Those that come gather for so many steps of those that are being written: two begin faster together than apart."""
LIVE_SHARE = 4
"""While urgent calls come, the others are one of so many of what is written, and of what begins together."""


class Joining(Gathering[Call, Reply]):
    """Answers calls by rows that join and leave, in a thread in which the model is.

    Urgent calls begin first. A call that the rows fail at, or have no room for by itself, is answered by `alone`.
    """

    def __init__(
        self,
        rows: Rows,
        wanted: Callable[[Call], Any],
        most: int,
        alone: Callable[[Call], Reply],
        is_urgent: Callable[[Call], bool],
        thread: Executor,
        watcher: Watcher,
    ) -> None:
        """At most `most` at a time; `wanted` is what the rows need to know of a call."""
        super().__init__(is_urgent, thread)
        self._rows, self._most, self._wanted, self._alone = rows, most, wanted, alone
        self._watcher, self._full = watcher, False
        self._written: dict[Any, Waiting[Call, Reply]] = {}

    def warm_up(self, calls: Sequence[Call]) -> None:
        """Write the answers to these for nobody, in the model's thread, before anybody asks."""
        for at in range(0, len(calls), GROUP):
            left = set(self._rows.join([self._wanted(call) for call in calls[at : at + GROUP]])) - {None}
            while left:
                left -= set(self._rows.step())

    def end(self) -> None:
        """Let the rows go, in the model's thread; nobody waits for any of them."""
        for row in list(self._written):
            self._out(row)
        del self._rows

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        while (begin := self._next()) or self._written:
            room = self._most - len(self._written) - len(begin)
            steps = 0 if min(room, len(self._waiting)) >= GROUP and len(begin) == GROUP else STEPS
            self._waiting[:0] = await loop.run_in_executor(self._thread, self._turn, loop, begin, steps)

    def _next(self) -> list[Waiting[Call, Reply]]:
        """The calls that begin now, taken out of those that wait."""
        urgent = self._urgent()
        room = 0 if self._full else min(GROUP, self._most - len(self._written))
        if not urgent and self._is_live():
            others = sum(not self._is_urgent(each.call) for each in self._written.values())
            room = min(room, GROUP // LIVE_SHARE, max(1, self._most // LIVE_SHARE) - others)
        begin = (urgent or self._waiting)[: max(0, room)]
        self._take(begin)
        return begin

    def _turn(
        self, loop: asyncio.AbstractEventLoop, begin: list[Waiting[Call, Reply]], steps: int
    ) -> list[Waiting[Call, Reply]]:
        """Begin, and write so many steps, in the model's thread; those that there is no room for yet."""

        def tell(waiting: Waiting[Call, Reply], reply: Reply) -> None:
            loop.call_soon_threadsafe(waiting.tell, reply)

        for row in [row for row, waiting in self._written.items() if waiting.reply.done()]:
            self._out(row)
        waits = self._begun(begin, tell) if begin else []
        for _ in range(steps):
            if self._written:
                self._step(tell)
        return waits

    def _begun(self, begin: list[Waiting[Call, Reply]], tell: Tell[Call, Reply]) -> list[Waiting[Call, Reply]]:
        """Have them begin together, or each alone when that fails; those that there is no room for yet."""
        began = time.perf_counter()
        try:
            rows = self._rows.join([self._wanted(each.call) for each in begin])
        except Exception:  # noqa: BLE001 - each alone tells whose it is
            if len(begin) > 1:
                return [each for one in begin for each in self._begun([one], tell)]
            tell(begin[0], self._alone(begin[0].call))
            return []
        self._watcher.step(len(begin), time.perf_counter() - began)
        joined = {row: each for row, each in zip(rows, begin, strict=True) if row is not None}
        self._written |= joined
        self._watcher.count(len(joined))
        waits = [each for row, each in zip(rows, begin, strict=True) if row is None]
        self._full = bool(waits and self._written)
        if waits and not self._written:  # there never will be
            tell(waits[0], self._alone(waits[0].call))
            return waits[1:]
        return waits

    def _step(self, tell: Tell[Call, Reply]) -> None:
        began, rows = time.perf_counter(), len(self._written)
        try:
            ended = self._rows.step()
        except Exception:
            log.exception("a step failed; what was being written is answered one by one")
            for waiting in [self._out(row) for row in list(self._written)]:
                tell(waiting, self._alone(waiting.call))
            return
        self._watcher.step(rows, time.perf_counter() - began)
        for row in ended:
            waiting = self._out(row)
            try:
                reply = self._rows.answer(row)
            except Exception:  # noqa: BLE001 - asked alone it says what is wrong
                reply = self._alone(waiting.call)
            tell(waiting, reply)

    def _out(self, row: Any) -> Waiting[Call, Reply]:
        self._rows.leave(row)
        self._watcher.count(-1)
        self._full = False
        return self._written.pop(row)
