"""Who calls: the id of the call and the map that the call began with, for as long as a request of it is answered.

A call keeps the version that it began with over any number of requests, at any ingress. While every call is answered
alike an ingress only writes down when each began. Before a map that answers otherwise is published, the controller
publishes that it is coming (`asking`): an ingress hands what it wrote down to the route table, and from then on asks
there for calls that it does not know, so that two of them cannot take one call for two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hotline import dialects
from serving.rollout.begun import Begun, hashed, place

if TYPE_CHECKING:
    from serving.routes import Route, RouteMap
    from serving.switchboard import Switchboard

log = logging.getLogger("ray.serve")

CALL_ID = r"^[A-Za-z0-9._:-]{1,128}$"
HAND_SECONDS = 1.0
"""What a killed ingress wrote down in its last second, nobody else knows."""
ASK_SECONDS = 2.0
FOLLOW_SECONDS = 5.0
_FORM = re.compile(CALL_ID)


@dataclass(frozen=True)
class Caller:
    """A request's call: where in [0, 1) its id lies, the map it began with, and its dialect, if it says so."""

    place: float = 1.0
    begun: int | None = None
    """None for a request without a call's id: it begins now."""
    dialect: str = ""

    def routes(self, known: RouteMap) -> dict[str, Route]:
        """What answers this caller, by task."""
        return known.seen_by(self.begun, self.place)


CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039  # it is frozen


class Callers:
    """Knows when each call began; one for each ingress."""

    def __init__(self, site: str = "", silent_seconds: float = 900.0) -> None:
        self.site = site
        self._known = Begun(silent_seconds)
        self._fresh: dict[bytes, int] = {}
        """Not handed over yet."""
        self._asking = False
        self._table: Any = None

    async def begun(self, switchboard: Switchboard, call: str) -> int:
        """The map that the call began with; it is this ingress's own map, or an earlier one."""
        name, give_up = hashed(self.site, call), time.monotonic() + FOLLOW_SECONDS
        while not switchboard.map.number and time.monotonic() < give_up:
            await asyncio.sleep(0.005)  # an ingress that has just started knows of no call when it began
        known = self._known.get(name)
        if known is None and switchboard.map.number:
            known = self._known.put(name, await self._asked(name, switchboard.map.number))
        if known is None:
            return 0
        while known > switchboard.map.number and time.monotonic() < give_up:
            await asyncio.sleep(0.005)  # another ingress is a map ahead
        return known

    async def _asked(self, name: bytes, number: int) -> int:
        if not self._asking:
            self._fresh[name] = number
            return number
        try:
            found: int = await asyncio.wait_for(self._table.begin.remote(name, number), ASK_SECONDS)
        except (RayError, TimeoutError):
            log.warning("the route table does not say when a call began: it begins now")
            return number
        return found

    async def follow(self, table: Any, asking: bool) -> None:
        """Ask from now on, or no more; whoever goes on to ask has handed over what it knew."""
        self._table = table
        if asking and not self._asking:
            self._asking = True  # first, so that no call is written down after the others were handed over
            await table.begun.remote(self._known.all())
            self._fresh.clear()
        self._asking = asking

    def hand_all(self) -> None:
        """The route table may have lost what it was told."""
        self._fresh = dict(self._known.all())

    async def keep_handing(self) -> None:
        """Hand over what is new, again and again, so that a killed ingress takes little with it."""
        while True:
            await asyncio.sleep(HAND_SECONDS)
            if self._fresh:
                handed, self._fresh = self._fresh, {}
                try:
                    await self._table.begun.remote(handed)
                except RayError:
                    self.hand_all()


class Heard:
    """The layer that tells what is inside who calls. Pure ASGI."""

    def __init__(self, app: ASGIApp, switchboard: Switchboard) -> None:
        self._app, self._switchboard = app, switchboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, known = Headers(scope=scope), self._switchboard.callers
        call, dialect = headers.get("x-call-id", ""), headers.get("x-dialect", "")
        named = _FORM.fullmatch(call) is not None
        begun = await known.begun(self._switchboard, call) if named else None
        where = place(known.site, call if named else str(scope["state"]["stamp"]))
        token = CALLER.set(Caller(where, begun, dialect if dialect in dialects.tags() else ""))
        try:
            await self._app(scope, receive, send)
        finally:
            with contextlib.suppress(ValueError):
                CALLER.reset(token)
