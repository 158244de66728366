"""A replica's place in memory: its model is loaded for a call, and makes room when others are asked more recently."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from ray.exceptions import RayError

from hotline.errors import HotlineError, RefusedError, UnavailableError
from serving.residents import Resident

log = logging.getLogger("ray.serve")

TELL_SECONDS = 0.5
ASK_SECONDS = 0.1
ROOM_SECONDS = 20.0
"""So long a call waits for room in memory; a replica that starts waits `START_SECONDS`."""
START_SECONDS = 120.0


class Residence:
    """Of one replica. `load` and `free` bring its model into memory and out of it; no call is answered meanwhile."""

    def __init__(
        self,
        table: Any,
        name: tuple[str, str],
        size: int,
        limit: int,
        load: Callable[[], Awaitable[None]],
        free: Callable[[], Awaitable[None]],
    ) -> None:
        """`name` is the replica's and its machine's, `table` the site's route table, sizes are bytes.

        Raises RefusedError for a model that would never fit.
        """
        if size > limit:
            raise RefusedError(
                "this version does not fit into the memory for models",
                found=f"{_mib(size)} of weights",
                expected=f"{_mib(limit)} at most",
                next="hotline serve with a larger --resident-mib",
            )
        self._table, self._name, self._size, self._limit = table, name, size, limit
        self._load, self._free = load, free
        self._lock, self._telling = asyncio.Lock(), asyncio.create_task(self._tell())
        self._placed, self._here, self._calls, self._used = False, False, 0, time.monotonic()
        self._done = asyncio.Event()
        self._waking: asyncio.Task[None] | None = None
        self._resting: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """The model is in memory inside of this context. Raises UnavailableError when it cannot be had there."""
        while not self._here:
            if self._waking is None or self._waking.done():
                self._waking = asyncio.create_task(self._wake())
            await asyncio.shield(self._waking)  # a caller who goes away leaves no model half loaded
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._used = time.monotonic()
            self._done.set()

    async def enter(self, seconds: float = START_SECONDS) -> None:
        """Load once there is room. Raises UnavailableError when there is none for so long, and what `load` raises."""
        async with self._lock:
            if self._here:
                return
            await self._room(seconds)
            try:
                await self._load()
            except BaseException:
                await self._leave()
                raise
            self._here = True

    async def _wake(self) -> None:
        begun = time.monotonic()
        try:
            await self.enter(ROOM_SECONDS)
        except UnavailableError:
            raise
        except HotlineError as error:
            log.exception("the version is not loaded again")
            raise UnavailableError(
                "the version that answers cannot be loaded again", found=error, next="hotline verify"
            ) from error
        log.info("in memory again after %.1f s", time.monotonic() - begun)

    async def _room(self, seconds: float) -> None:
        """Wait for a place; a route table that does not answer hinders nobody."""
        give_up = time.monotonic() + seconds
        try:
            while not await self._table.enters.remote(self._resident(), self._limit):
                if time.monotonic() > give_up:
                    raise UnavailableError(
                        "no model at rest makes room in memory for this one",
                        found=f"{_mib(self._size)} of weights",
                        expected=f"{_mib(self._limit)} at most with all that answer now",
                        next="try again in a second, or hotline serve with a larger --resident-mib",
                    )
                await asyncio.sleep(ASK_SECONDS)
        except RayError:
            log.warning("the route table does not answer; the model is loaded without asking for room")
        self._placed = True

    def _resident(self) -> Resident:
        answering = self._calls or self._lock.locked()
        return Resident(*self._name, self._size, None if answering else time.monotonic() - self._used)

    def close(self) -> None:
        """The replica ends: its place is free."""
        self._telling.cancel()
        self._table.left.remote(self._name[0])

    async def _tell(self) -> None:
        """Say again and again that the model is in memory; when another one needs the place, let it go meanwhile."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            try:
                leave = self._placed and not await self._table.stays.remote(self._resident())
            except RayError:
                log.warning("the route table does not answer; the model stays in memory")
                continue
            if leave and (self._resting is None or self._resting.done()):
                self._resting = asyncio.create_task(self._rest())

    async def _rest(self) -> None:
        async with self._lock:
            if not self._here:
                return
            self._here = False  # calls that come now wait for the lock, then load
            while self._calls:
                self._done.clear()
                await self._done.wait()
            await self._free()
            await self._leave()
        log.info("out of memory: another version was asked")

    async def _leave(self) -> None:
        self._placed = False
        try:
            await self._table.left.remote(self._name[0])
        except RayError:
            log.warning("the route table does not answer; it forgets the place by itself")


def _mib(count: int) -> str:
    return f"{count / 1024**2:,.1f} MiB"
