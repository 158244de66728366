"""Beside the reply: counts how versions do, asks a second version a share of the calls, and compares the answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayError

from hotline.errors import HotlineError
from hotline.rollout import Rollout
from hotline.task import Input
from hotline.tasks import TASKS
from hotline.wishes import NOTHING
from serving.rollout.callers import CALLER
from serving.rollout.counts import WORST, Key, Pair
from serving.rollout.distance import distance, shown
from serving.routes import Route

if TYPE_CHECKING:
    from serving.switchboard import Switchboard

log = logging.getLogger("ray.serve")

AT_ONCE = 16
"""Mirrored calls in progress in one ingress; beyond, calls are not mirrored."""
LATER_SECONDS = 0.2
"""A mirrored call goes some time within these, so that it does not follow every reply at once."""
REPORT_SECONDS = 1.0


class Mirror:
    """One for each ingress."""

    def __init__(self, rollout: Rollout | None = None) -> None:
        self._rollout = rollout or Rollout()
        self._ongoing: set[asyncio.Task[None]] = set()
        self._counts: Counter[Key] = Counter()
        self._pairs: list[Pair] = []
        self.table: Any = None

    def failed(self, route: Route, error: BaseException) -> None:
        """The version did not answer; what was the caller's mistake, or a killed process, does not count against it."""
        ours = isinstance(error, Exception) and not isinstance(error, HotlineError)
        if ours or isinstance(error.__cause__, TimeoutError):
            self._count(route.app, self._slice({}), "failed")

    def answered(
        self, board: Switchboard, route: Route, question: Input, said: Mapping[str, Any], seconds: float
    ) -> None:
        """The version has answered; a second one may be asked, off the reply's way."""
        self._counted(route.app, said, seconds)
        pair = self._second(board, route)
        if pair and len(self._ongoing) < AT_ONCE:
            comparing = asyncio.create_task(self._compare(board, route, *pair, question, said))
            self._ongoing.add(comparing)
            comparing.add_done_callback(self._ongoing.discard)

    def _second(self, board: Switchboard, route: Route) -> tuple[Route, Route] | None:
        """(whom to ask beside, whom the comparison is about), or None."""
        known = board.map
        trial, champion = known.trials.get(route.task), known.routes.get(route.task)
        if champion is None:
            return None
        if trial and trial.kind == "canary" and route.app == trial.route.app:
            return champion, route
        if route.app != champion.app:
            return None
        if trial and trial.kind == "shadow":
            return (trial.route, trial.route) if random.random() < trial.share else None
        before = [each.route for each in known.warm if each.route.task == route.task and each.kind == "champion"]
        if self._rollout.watch_share > random.random() and before and before[-1].app != route.app:
            return before[-1], route
        return None

    async def _compare(
        self, board: Switchboard, route: Route, other: Route, about: Route, question: Input, said: Mapping[str, Any]
    ) -> None:
        await asyncio.sleep(random.uniform(0, LATER_SECONDS))
        begun = time.perf_counter()
        try:
            replied = await board.told(other, "answer", self._rollout.slow_seconds * 2, question, NOTHING, False)
        except (HotlineError, RayError) as error:
            self.failed(other, error)
            return
        self._counted(other.app, replied, time.perf_counter() - begun)
        champion, candidate = (said, replied) if about == other else (replied, said)
        apart = distance(TASKS[route.task].family, champion["answer"], candidate["answer"])
        named = self._slice(champion["answer"])
        self._count(about.app, named, "compared")
        if apart > self._rollout.tolerance:
            self._count(about.app, named, "differed")
            self._pairs.append(Pair(about.app, named, apart, shown(question), _brief(champion), _brief(candidate)))

    def _counted(self, app: str, said: Mapping[str, Any], seconds: float) -> None:
        named = self._slice(said.get("answer") or {})
        self._count(app, named, "answered")
        if seconds > self._rollout.slow_seconds:
            self._count(app, named, "slow")

    def _count(self, app: str, named: str, what: Any) -> None:
        for value in {"", named}:
            self._counts[app, value, what] += 1

    def _slice(self, answer: Mapping[str, Any]) -> str:
        """The dialect, as the caller's header or the answer names it; empty when nobody does."""
        return CALLER.get().dialect or str(answer.get("dialect") or "")

    async def keep_reporting(self) -> None:
        """Tell the route table what was counted, again and again."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if self._counts and self.table is not None:
                counts, pairs = self._counts, sorted(self._pairs, key=lambda pair: pair.distance)[-10 * WORST :]
                self._counts, self._pairs = Counter(), []
                with contextlib.suppress(RayError):  # a second of counts is lost
                    await self.table.report.remote(dict(counts), pairs)


def _brief(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"answer": said["answer"], "confidence": said.get("confidence")}
