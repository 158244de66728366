"""The controller follows the ledger: it loads a new champion beside the old one, switches the map, drains and deletes.

The policy and the signers are read once, at start; a reviewed change of them takes effect with the next start.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import ray
from ray.serve.api import RunTarget

from hotline import digests, heads, notices, policy
from hotline.errors import HotlineError, RefusedError
from hotline.ledger import Chain
from hotline.records import Trial
from hotline.settings import Settings
from hotline.tasks import TASKS
from serving import app, applications, warrant
from serving.listener import Address
from serving.loading import QUIET, Loading
from serving.replica import Options
from serving.rollout.stages import Stages
from serving.rollout.watching import Watching
from serving.routes import Route, RouteMap, Stage
from serving.warrant import Warrant

log = logging.getLogger("hotline.serving")

INGRESS = "ingress"
SETTLE_SECONDS = 60.0
ADOPT_SECONDS = 15.0


class Controller:
    """Keeps the endpoints at what the ledger says; one thread calls `check`, `start`, then `step` again and again."""

    def __init__(self, settings: Settings, options: Options) -> None:
        self._settings, self._options = settings, options
        self._policy = policy.load(settings.workspace)
        self._ledger = warrant.ledger(settings)
        self._map = RouteMap()
        self._loading = Loading(settings, self._policy, options)
        self._stages = Stages(self._policy.rollout)
        self._watching = Watching(settings.state, self._policy)
        self._chain: Chain | None = None
        self._table: Any = None

    @property
    def site(self) -> str:
        return self._policy.site

    @property
    def _ingress(self) -> str:
        """The name of the ingress's application: every site of a deployment has its own."""
        return f"{INGRESS}-{digests.of_text(self.site)[:8]}"

    @property
    def map(self) -> RouteMap:
        """What is served now."""
        return self._map

    def check(self) -> None:
        """Without Ray: whether anything may be served. Raises the first refusal when nothing may."""
        chain = self._ledger.read()
        wanted, refused = self._examine(chain)
        errors = [*refused.values(), *(error for error in map(self._loading.fetched, wanted.values()) if error)]
        if len(errors) == len(chain.champions()):
            raise errors[0] if errors else _no_champion()

    def start(self, table: Any, address: Address) -> None:
        """Bring the ingress and every champion up together. Raises RefusedError when no champion starts."""
        self._table = table
        self.step(RunTarget(app.application(self._policy, self._settings.state, address), self._ingress, None, QUIET))
        if not self._map.routes:
            reasons = "; ".join(self._map.unserved.values())
            raise RefusedError("no champion can be served", found=reasons, next="hotline verify")

    def step(self, *ingress: RunTarget) -> None:
        """Look at the ledger once and do what it asks for; then at what was counted, and do what that asks for."""
        self._watching.look(self._map, *ray.get(self._table.counted.remote(self._policy.rollout.window_seconds)))
        trouble = self._read()
        chain = self._chain
        if chain is None:
            self._publish(self._map.model_copy(update={"trouble": trouble, "notes": self.notes()}))
            return
        wanted, refused = self._examine(chain)
        unserved = {task: str(error) for task, error in refused.items()}
        unserved |= self._watching.replace(chain, wanted)
        tried, untried = self._watching.tried(chain, wanted)
        routes = self._load(chain, wanted, tried, ingress)
        for task, found in wanted.items():
            refusal = self._loading.refusal(found)
            if refusal:
                unserved[task] = refusal
            else:
                routes[task] = self._route(found)
        unserved |= {task: why for task, why in applications.down(routes, self._table).items() if task not in unserved}
        trials = {task: self._trial(found) for task, found in tried.items() if not self._loading.refusal(found)}
        untried |= {task: why for task, found in tried.items() if (why := self._loading.refusal(found))}
        notes = (*self.notes(), *(f"{task}: the challenger is not tried: {why}" for task, why in untried.items()))
        self._switch(
            RouteMap(head=chain.head, routes=routes, unserved=unserved, notes=notes, trials=trials, trouble=trouble)
        )
        for app_name in self._watching.lost:
            ray.get(self._table.forget.remote(app_name))
        self._loading.end_unasked(self._map.loaded, self._table, self._map.number)

    def _read(self) -> str | None:
        """Read the ledger; why it cannot be followed at the moment, when the chain that was verified last goes on."""
        try:
            self._chain = self._ledger.read()
        except HotlineError as error:
            return str(error)
        self._remember(self._chain)
        return None

    def _remember(self, chain: Chain) -> None:
        """Export the head that is followed: after a restart, too, only what descends from it is followed."""
        try:
            heads.export(self._settings.followed_head, len(chain.entries), chain.head)
        except OSError as error:
            log.warning("the head that is followed cannot be written down: %s", error)

    def notes(self) -> tuple[str, ...]:
        """An expired policy stops nothing that is served."""
        expired = self._policy.expired
        return (f"{expired}; what was promoted before goes on",) if expired else ()

    def _examine(self, chain: Chain) -> tuple[dict[str, Warrant], dict[str, HotlineError]]:
        """The warrants of the champions, and why others have none; both by task."""
        wanted: dict[str, Warrant] = {}
        refused: dict[str, HotlineError] = {}
        for task, champion in chain.champions().items():
            try:
                if task not in TASKS:
                    raise RefusedError(f"{task} is not declared in this version of the code", next="hotline tasks")
                wanted[task] = warrant.examine(chain, self._policy, task, champion.entry)
            except HotlineError as error:
                refused[task] = error
        return wanted, refused

    def _load(
        self, chain: Chain, wanted: dict[str, Warrant], tried: dict[str, Warrant], ingress: tuple[RunTarget, ...]
    ) -> dict[str, Route]:
        """Bring up what is due; of tasks of which no two versions fit, after the one before has ended. Gives back what
        answers so far."""
        due = [found for found in (*wanted.values(), *tried.values()) if self._loading.is_due(found)]
        routes = dict(self._map.routes)
        drained = [route for found in due if (route := routes.get(found.task)) and self._must_drain(found)]
        if drained:
            self._drain(drained)
        self._loading.load(due, self._table, ingress)
        for route in drained:
            if self._loading.refusal(wanted[route.task]):
                before = warrant.examine(chain, self._policy, route.task, chain.by_seq(route.promotion))
                self._loading.load([before], self._table)
        return routes

    def _must_drain(self, found: Warrant) -> bool:
        """Whether the version before must end first; not for bytes that cannot be had anyway."""
        return found.task in self._policy.rollout.drain_then_load and self._loading.fetched(found) is None

    def _drain(self, routes: list[Route]) -> None:
        """End these versions; callers are answered 503 until the next ones are there."""
        tasks = {route.task: f"{route.line}@{route.version} makes room for the next version" for route in routes}
        left = {task: route for task, route in self._map.routes.items() if task not in tasks}
        unserved = {**self._map.unserved, **tasks}
        warm = tuple(stage for stage in self._map.warm if stage.route.task not in tasks)
        self._publish(self._map.model_copy(update={"routes": left, "warm": warm, "unserved": unserved}))
        self._loading.end({route.app for route in routes}, wait=True)

    def _route(self, found: Warrant) -> Route:
        return found.route(self._options.engines.get(found.task))

    def _trial(self, found: Warrant) -> Stage:
        record = found.champion.record
        assert isinstance(record, Trial) and record.stage != "withdrawn"
        return Stage(route=self._route(found), kind=record.stage, share=record.share, since=0)

    def _switch(self, fresh: RouteMap) -> None:
        """Publish `fresh`; when calls have a version to keep, every ingress first hands over which calls these are."""
        if self._stages.changes(self._map, fresh) and not self._map.asking:
            self._publish(self._map.model_copy(update={"asking": True}), settled=False)
        self._publish(self._stages.staged(self._map, fresh, self._watching.lost))

    def _publish(self, fresh: RouteMap, settled: bool = True) -> None:
        """Make `fresh` the current map when it says something new; wait until every ingress answers by it, and if
        `settled` until no call of an earlier map is left."""
        self._tell(fresh)
        told = ray.get(self._table.beat.remote())
        numbered = fresh.model_copy(update={"number": self._map.number})
        if numbered == self._map and told == self._map.number:
            return
        self._map = fresh.model_copy(update={"number": self._map.number + 1})
        ray.get(self._table.publish.remote(self._map))
        give_up = time.monotonic() + (SETTLE_SECONDS if settled else ADOPT_SECONDS)
        done = self._table.settled if settled else self._table.adopted
        while not ray.get(done.remote(self._map.number)) and time.monotonic() < give_up:
            time.sleep(0.05)
            ray.get(self._table.beat.remote())

    def _tell(self, fresh: RouteMap) -> None:
        """One log line for everything that `fresh` changes."""
        for task, reason in fresh.unserved.items():
            if reason != self._map.unserved.get(task):
                log.error("%s: %s%s", task, " ".join(reason.split()), _instead(fresh, task))
                self._notify(task)
        for task, route in fresh.routes.items():
            if route != self._map.routes.get(task):
                log.info("%s: answered by %s@%s, ledger entry %d", task, route.line, route.version, route.promotion)
        for note in fresh.notes:
            if note not in self._map.notes:
                log.warning("%s", " ".join(note.split()))
        if fresh.trouble and fresh.trouble != self._map.trouble:
            log.error("what is served stays: %s", " ".join(fresh.trouble.split()))

    def _notify(self, task: str) -> None:
        """Tell the site's webhooks; why is in the log and at /readyz, for it may quote what failed."""
        said = f"{task}: the champion in the ledger is not what answers"
        named = {"site": self._policy.site, "task": task, "next": "GET /readyz says why"}
        notices.tell(self._policy, notices.Notice(event="champion_refused", said=said, **named))


def _no_champion() -> RefusedError:
    return RefusedError(
        "no task has a champion: nothing would be served",
        expected="a promoted version",
        next="hotline judge a recipe, then hotline promote it",
    )


def _instead(fresh: RouteMap, task: str) -> str:
    route: Route | None = fresh.routes.get(task)
    return f" [answering: {route.line}@{route.version}]" if route else ""
