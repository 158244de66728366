"""Which replicas have their model in memory, and which of them make room: those that were asked least recently.

One at rest makes room at once. One that goes on answering has a few seconds more; then its callers wait for a while, so
that the others' are not refused for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

FORGET_SECONDS = 15.0
"""A replica that says nothing for so long has died with its model."""
PATIENCE_SECONDS = 5.0
"""So long one that is asked to make room may go on answering."""
WANTED_SECONDS = 1.0
"""Nobody wants room any more who has not asked for so long."""


@dataclass(frozen=True)
class Resident:
    """A replica that has its model in memory, or would like to."""

    replica: str
    node: str
    bytes: int
    idle_seconds: float | None
    """Since its last answer; None while it answers or loads."""


@dataclass
class _Kept:
    who: Resident
    heard: float
    used: float
    asked_to_leave: float | None = None
    """When."""


class Residents:
    """Those of one site, by what they say of themselves. On each machine their bytes stay within a limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._wanted: dict[str, float] = {}

    def enters(self, who: Resident, limit: int) -> bool:
        """Whether it may load now. If not, others are asked to leave; it asks again."""
        now = self._clock()
        self._kept = {name: kept for name, kept in self._kept.items() if now - kept.heard < FORGET_SECONDS}
        others = [kept for name, kept in self._kept.items() if kept.who.node == who.node and name != who.replica]
        missing = sum(kept.who.bytes for kept in others) + who.bytes - limit
        if missing <= 0:
            self._kept[who.replica] = _Kept(who, now, now)
            return True
        self._wanted[who.node] = now
        missing -= sum(kept.who.bytes for kept in others if kept.asked_to_leave is not None)
        unasked = [kept for kept in others if kept.asked_to_leave is None]
        for kept in sorted(unasked, key=lambda each: (each.who.idle_seconds is None, each.used)):
            if missing <= 0:
                break
            kept.asked_to_leave = now
            missing -= kept.who.bytes
        return False

    def stays(self, who: Resident) -> bool:
        """Whether it may keep its model; it says so again and again."""
        now = self._clock()
        used = now - (who.idle_seconds or 0.0)
        before = self._kept.get(who.replica)
        wanted = now - self._wanted.get(who.node, -WANTED_SECONDS) < WANTED_SECONDS
        asked = before.asked_to_leave if before and wanted else None
        self._kept[who.replica] = _Kept(who, now, used, asked)
        if asked is None:
            return True
        at_rest = who.idle_seconds is not None and used <= asked
        return not at_rest and now - asked < PATIENCE_SECONDS

    def left(self, replica: str) -> None:
        """Its model is out of memory."""
        self._kept.pop(replica, None)

    def bytes(self, node: str | None = None) -> int:
        """What lies in memory, on that machine or on all."""
        return sum(kept.who.bytes for kept in self._kept.values() if node in (None, kept.who.node))


class Lodging:
    """What the route table's actor says of places in memory."""

    def __init__(self) -> None:
        self._residents = Residents()

    async def enters(self, who: Resident, limit: int) -> bool:
        """Whether a replica may load its model now."""
        return self._residents.enters(who, limit)

    async def stays(self, who: Resident) -> bool:
        """Whether a replica may keep its model in memory."""
        return self._residents.stays(who)

    async def left(self, replica: str) -> None:
        """A replica has its model in memory no more."""
        self._residents.left(replica)

    async def resident_bytes(self) -> int:
        """Of the models that lie in memory."""
        return self._residents.bytes()
