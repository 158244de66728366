"""The route map: which version answers which task. One controller publishes it, every ingress replica follows it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hotline.records import Digest, Outcome
from hotline.task import Profile
from serving.residents import Lodging
from serving.rollout.begun import Begun
from serving.rollout.counts import Key, Pair, Window

NAMESPACE = "hotline"
TABLE = "routes"
POLL_SECONDS = 10.0
FORGET_SECONDS = 3 * POLL_SECONDS
BEGUN_SECONDS = 3600.0
"""A call that was silent for so long begins anew."""


class Route(BaseModel):
    """Task → version, with the evidence that it stands on and the Ray Serve application that answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    line: str
    version: str
    digest: Digest
    verdict: Digest
    promotion: int
    promoted: str
    """UTC, ISO 8601."""
    profile: Profile
    outcome: Outcome
    site: str
    engine: str
    app: str


class Stage(BaseModel):
    """What a version is to a task: for the calls that began with map `since` or a later one, before `until`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: Route
    kind: Literal["champion", "shadow", "canary"] = "champion"
    share: float = 1.0
    since: int
    until: int | None = None
    """None: to this day."""

    def covers(self, begun: int) -> bool:
        return self.since <= begun and (self.until is None or begun < self.until)


class RouteMap(BaseModel):
    """One state of the endpoints; a later state has a higher number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = 0
    head: str = ""
    """Hash of the ledger entry that this map was made from."""
    routes: dict[str, Route] = {}
    since: dict[str, int] = {}
    """By task, the number of the map with which its version became the one that answers."""
    trials: dict[str, Stage] = {}
    """What is tried beside the champion, by task."""
    warm: tuple[Stage, ...] = ()
    """What answered before and still does for the calls that began with it."""
    asking: bool = False
    """Whether calls may have begun with a map that answers otherwise, so that an ingress asks when a call began."""
    unserved: dict[str, str] = {}
    """Tasks whose champion in the ledger is not the version that answers, and why."""
    notes: tuple[str, ...] = ()
    """What a person should know although everything is served, such as an expired policy."""
    trouble: str | None = None
    """Why the ledger cannot be followed at the moment."""

    @property
    def loaded(self) -> dict[str, Route]:
        """Every version that this map has answer somebody, by its application."""
        stages = (*self.warm, *self.trials.values())
        return {route.app: route for route in (*(stage.route for stage in stages), *self.routes.values())}

    def within(self, apps: Collection[str]) -> RouteMap:
        """This map without the versions whose application is none of these."""
        wrong = {task: "its replica holds other bytes" for task, route in self.routes.items() if route.app not in apps}
        routes = {task: route for task, route in self.routes.items() if route.app in apps}
        warm = tuple(stage for stage in self.warm if stage.route.app in apps)
        trials = {task: stage for task, stage in self.trials.items() if stage.route.app in apps}
        update = {"routes": routes, "warm": warm, "trials": trials, "unserved": {**self.unserved, **wrong}}
        return self.model_copy(update=update)

    def seen_by(self, begun: int | None, place: float = 1.0) -> dict[str, Route]:
        """What answers a call that began with map `begun`, by task; None: it begins now. `place` is where in [0, 1) the
        call lies among all: a canary answers those below its share."""
        if not self.trials and not self.warm:
            return self.routes
        at = self.number if begun is None else begun
        return {
            task: self._tried(task, at, place) or self._before(task, at) or self.routes[task] for task in self.routes
        }

    def _tried(self, task: str, begun: int, place: float) -> Route | None:
        """The canary that answers the call, if one does."""
        stages = (*self.trials.values(), *self.warm)
        canaries = (
            each.route for each in stages if each.kind == "canary" and each.covers(begun) and place < each.share
        )
        return next((route for route in canaries if route.task == task), None)

    def _before(self, task: str, begun: int) -> Route | None:
        """The version before that the call keeps: of those that still answer, the first that ended after it began."""
        ended = (stage for stage in self.warm if stage.kind == "champion" and stage.route.task == task)
        kept = [stage for stage in ended if begun < (stage.until or 0)]
        return min(kept, key=lambda stage: stage.until or 0).route if kept else None

    def why_not(self, task: str) -> str | None:
        """Why nothing answers the task, or not what the ledger says; None when its champion does."""
        if self.number == 0:
            return "the endpoints are still starting"
        return self.unserved.get(task, None if task in self.routes else "no champion in the ledger")


class RouteTable(Lodging):
    """The actor that holds the current map. It lives apart from the controller, so that it outlives its mistakes."""

    def __init__(self) -> None:
        super().__init__()
        self._map = RouteMap()
        self._changed = asyncio.Condition()
        self._settled: dict[str, tuple[int, float]] = {}
        self._heard = time.monotonic()
        self._adopted: dict[str, tuple[int, float]] = {}
        self._begun = Begun(BEGUN_SECONDS)
        self._window = Window()
        self._refusals: dict[str, str] = {}
        self._ails: dict[str, str] = {}

    async def publish(self, fresh: RouteMap) -> None:
        """Make `fresh` the current map. Raises ValueError for a map that is not later than the current one."""
        if fresh.number <= self._map.number:
            raise ValueError(f"map {fresh.number} cannot follow map {self._map.number}")
        async with self._changed:
            self._map = fresh
            self._changed.notify_all()

    async def beat(self) -> int:
        """The controller lives; gives back the current map's number, 0 when a restart has lost it."""
        self._heard = time.monotonic()
        return self._map.number

    async def current(self) -> RouteMap:
        return self._map

    async def after(self, ingress: str, number: int) -> tuple[RouteMap, float]:
        """The first map later than `number`, or the same after a while; and seconds since the controller was heard."""
        self._adopted[ingress] = (number, time.monotonic())
        if ingress in self._settled:
            self._settled[ingress] = (self._settled[ingress][0], time.monotonic())
        async with self._changed:
            with contextlib.suppress(TimeoutError):  # nothing new is an answer too
                await asyncio.wait_for(self._changed.wait_for(lambda: self._map.number > number), POLL_SECONDS)
        return self._map, time.monotonic() - self._heard

    async def settle(self, ingress: str, number: int) -> None:
        """That ingress replica answers by map `number`, and no call of an earlier map is left in it."""
        self._settled[ingress] = (number, time.monotonic())

    async def settled(self, number: int) -> bool:
        """Whether every ingress replica that is alive has settled on map `number`."""
        now = time.monotonic()
        self._settled = {name: seen for name, seen in self._settled.items() if now - seen[1] < FORGET_SECONDS}
        return bool(self._settled) and all(reached >= number for reached, _ in self._settled.values())

    async def adopted(self, number: int) -> bool:
        """Whether every ingress replica that is alive and answers has adopted map `number`, or a later one."""
        now = time.monotonic()
        self._adopted = {name: seen for name, seen in self._adopted.items() if now - seen[1] < FORGET_SECONDS}
        return all(reached >= number for reached, _ in self._adopted.values() if reached)

    async def begin(self, call: bytes, number: int) -> int:
        """The map that the call began with: `number`, unless some ingress has said another before."""
        return self._begun.put(call, number)

    async def begun(self, calls: Mapping[bytes, int]) -> None:
        """An ingress knows that these calls began with these maps."""
        for call, number in calls.items():
            self._begun.put(call, number)

    async def report(self, counts: Mapping[Key, int], pairs: Sequence[Pair]) -> None:
        """An ingress has counted that since its last report, and seen these pairs of answers."""
        self._window.add(counts, pairs)

    async def counted(self, seconds: float) -> tuple[dict[Key, int], dict[str, list[Pair]]]:
        """The sums of all ingresses over the last so many seconds, and the worst pairs by application."""
        return dict(self._window.sums(seconds)), self._window.worst()

    async def forget(self, app: str) -> None:
        """What was counted of the application counts no more."""
        self._window.forget(app)

    async def refuse(self, app: str, reason: str) -> None:
        """A replica of `app` will not answer, and says why."""
        self._refusals[app] = reason

    async def ail(self, app: str, reason: str | None) -> None:
        """A replica of `app` runs and cannot answer at the moment, and why; None when it can again."""
        self._ails = {name: why for name, why in self._ails.items() if name != app}
        if reason:
            self._ails[app] = reason

    async def ails(self) -> dict[str, str]:
        """Why applications that run cannot answer, by their names."""
        return self._ails

    async def refusal(self, app: str) -> str | None:
        """The reason, once."""
        return self._refusals.pop(app, None)


def create(site: str) -> Any:
    """The actor of that site's table, new; it ends with the process that made it."""
    import ray

    return (
        ray.remote(RouteTable)
        .options(name=f"{TABLE} of {site}", namespace=NAMESPACE, num_cpus=0, max_restarts=-1)
        .remote()
    )


def find(site: str) -> Any:
    """The actor of that site's table, from any process of the cluster."""
    import ray

    return ray.get_actor(f"{TABLE} of {site}", namespace=NAMESPACE)
