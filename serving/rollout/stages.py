"""What goes on answering after a promotion, a rollback or a canary, for the calls that began with it, and how long."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from hotline.rollout import Rollout
from serving.routes import Route, RouteMap, Stage


class Stages:
    """Remembers when versions ended; one for each controller."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self._ended: dict[tuple[str, int], float] = {}

    def changes(self, known: RouteMap, fresh: RouteMap) -> bool:
        """Whether calls that began with `known` have a version to keep when `fresh` follows."""
        kept = self._rollout.warm_versions > 0 and self._rollout.warm_seconds > 0
        moved = any(fresh.routes.get(task, route) != route for task, route in known.routes.items())
        return (kept and moved) or _canaries(known) != _canaries(fresh)

    def staged(self, known: RouteMap, fresh: RouteMap, lost: Collection[str] = ()) -> RouteMap:
        """`fresh` with what stays warm beside it, and since when each answers; `lost` applications are not kept."""
        number, now = known.number + 1, time.monotonic()
        trials = {task: _begun(known.trials.get(task), stage, number) for task, stage in fresh.trials.items()}
        ended = self._outgoing(known, fresh, number)
        ended += [
            stage.model_copy(update={"until": number})
            for task, stage in known.trials.items()
            if stage.kind == "canary" and trials.get(task) != stage
        ]
        self._ended |= {(stage.route.app, number): now for stage in ended}
        warm = tuple(stage for stage in self._young((*known.warm, *ended), fresh) if stage.route.app not in lost)
        since = {
            task: known.since.get(task, number) if known.routes.get(task) == route else number
            for task, route in fresh.routes.items()
        }
        asking = bool(warm) or any(stage.kind == "canary" for stage in trials.values())
        return fresh.model_copy(update={"since": since, "warm": warm, "trials": trials, "asking": asking})

    def _outgoing(self, known: RouteMap, fresh: RouteMap, number: int) -> list[Stage]:
        return [
            Stage(route=route, since=known.since.get(task, 0), until=number)
            for task, route in known.routes.items()
            if fresh.routes.get(task, route) != route
        ]

    def _young(self, stages: tuple[Stage, ...], fresh: RouteMap) -> list[Stage]:
        """Those that ended not too long ago, of the newest versions of each task, oldest first."""
        latest = time.monotonic() - self._rollout.warm_seconds
        kept: list[Stage] = []
        versions: dict[str, set[str]] = {}
        for stage in sorted(stages, key=lambda stage: stage.until or 0, reverse=True):
            now = fresh.routes.get(stage.route.task)
            if now is None or self._ended.get((stage.route.app, stage.until or 0), latest) <= latest:
                continue
            among = versions.setdefault(stage.route.task, set()) | {stage.route.app} - {now.app}
            if len(among) <= self._rollout.warm_versions:
                versions[stage.route.task] = among
                kept.append(stage)
        names = {(stage.route.app, stage.until or 0) for stage in kept}
        self._ended = {name: at for name, at in self._ended.items() if name in names}
        return kept[::-1]


def _begun(known: Stage | None, fresh: Stage, number: int) -> Stage:
    """A trial that goes on is what it was; another one begins with map `number`."""
    same = known and (known.route, known.kind, known.share) == (fresh.route, fresh.kind, fresh.share)
    return known if known and same else fresh.model_copy(update={"since": number})


def _canaries(known: RouteMap) -> Mapping[str, tuple[Route, float]]:
    return {task: (stage.route, stage.share) for task, stage in known.trials.items() if stage.kind == "canary"}
