"""What goes on answering after a promotion or a rollback, for the calls that began with it, and for how long."""

from __future__ import annotations

import time
from collections.abc import Mapping

from hotline.policy import Rollout
from serving.routes import Route, RouteMap, Stage


class Stages:
    """Remembers when versions ended; one for each controller."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self._ended: dict[tuple[str, int], float] = {}

    def changes(self, known: RouteMap, routes: Mapping[str, Route]) -> bool:
        """Whether calls that began with `known` have a version to keep when these routes follow."""
        kept = self._rollout.warm_versions > 0 and self._rollout.warm_seconds > 0
        return kept and any(task in routes and routes[task] != route for task, route in known.routes.items())

    def staged(self, known: RouteMap, fresh: RouteMap, lost: frozenset[str] = frozenset()) -> RouteMap:
        """`fresh`, with what stays warm beside it; of `lost` applications nothing stays."""
        number = known.number + 1
        ended = [
            Stage(route=route, since=known.since.get(task, 0), until=number)
            for task, route in known.routes.items()
            if self.changes(known, fresh.routes) and task in fresh.routes and fresh.routes[task] != route
        ]
        now = time.monotonic()
        for stage in ended:
            self._ended[stage.route.app, number] = now
        warm = tuple(stage for stage in self._young((*known.warm, *ended), fresh) if stage.route.app not in lost)
        since = {
            task: known.since.get(task, number) if known.routes.get(task) == route else number
            for task, route in fresh.routes.items()
        }
        return fresh.model_copy(update={"since": since, "warm": warm, "asking": bool(warm)})

    def _young(self, stages: tuple[Stage, ...], fresh: RouteMap) -> list[Stage]:
        """Those that ended not too long ago, of the newest versions of each task, oldest first."""
        latest = time.monotonic() - self._rollout.warm_seconds
        kept: list[Stage] = []
        versions: dict[str, set[str]] = {}
        for stage in sorted(stages, key=lambda stage: stage.until or 0, reverse=True):
            task, app = stage.route.task, stage.route.app
            among = versions.setdefault(task, set())
            if task in fresh.routes and app != fresh.routes[task].app:
                among.add(app)
            few = len(among) <= self._rollout.warm_versions
            if task in fresh.routes and few and self._ended.get((app, stage.until or 0), latest) > latest:
                kept.append(stage)
        self._ended = {
            each: at for each, at in self._ended.items() if each in {(s.route.app, s.until or 0) for s in kept}
        }
        return kept[::-1]
