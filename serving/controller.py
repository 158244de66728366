"""The controller follows the ledger: it loads a new champion beside the old one, switches the map, drains and deletes.

The policy and the signers are read once, at start; a reviewed change of them takes effect with the next start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.api import RunTarget
from ray.serve.schema import LoggingConfig

from hotline import heads, policy
from hotline.errors import HotlineError, RefusedError
from hotline.ledger import Chain
from hotline.settings import Settings
from hotline.tasks import TASKS
from serving import app, applications, replica, warrant
from serving.replica import Options
from serving.rollout.stages import Stages
from serving.routes import Route, RouteMap
from serving.warrant import Warrant

log = logging.getLogger("hotline.serving")

INGRESS = "ingress"
LOAD_SECONDS = 180.0
SETTLE_SECONDS = 60.0
ADOPT_SECONDS = 15.0
RETRY_SECONDS = 60.0
"""A version that refused to start is tried again after this long."""
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)


@dataclass(frozen=True)
class Refusal:
    """Why the version that ledger entry `entry` promotes did not start, and when it was tried."""

    entry: int
    reason: str
    tried: float


class Controller:
    """Keeps the endpoints at what the ledger says; one thread calls `check`, `start`, then `step` again and again."""

    def __init__(self, settings: Settings, options: Options) -> None:
        self._settings, self._options = settings, options
        self._policy = policy.load(settings.workspace)
        self._ledger = warrant.ledger(settings)
        self._map = RouteMap()
        self._refusals: dict[str, Refusal] = {}
        self._apps: set[str] = set()
        self._stages = Stages(self._policy.rollout)
        self._table: Any = None

    @property
    def map(self) -> RouteMap:
        """What is served now."""
        return self._map

    def check(self) -> None:
        """Without Ray: whether anything may be served. Raises the first refusal when nothing may."""
        chain = self._ledger.read()
        wanted, refused = self._examine(chain)
        errors = [*refused.values(), *(error for error in map(self._fetched, wanted.values()) if error)]
        if len(errors) == len(chain.champions()):
            raise errors[0] if errors else _no_champion()

    def start(self, table: Any) -> None:
        """Bring the ingress and every champion up together. Raises RefusedError when no champion starts."""
        self._table = table
        self.step(RunTarget(app.application(self._policy, self._settings.state), INGRESS, "/", QUIET))
        if not self._map.routes:
            reasons = "; ".join(self._map.unserved.values())
            raise RefusedError("no champion can be served", found=reasons, next="hotline verify")

    def step(self, *ingress: RunTarget) -> None:
        """Look at the ledger once and do what it asks for."""
        try:
            chain = self._ledger.read()
        except HotlineError as error:
            self._publish(self._map.model_copy(update={"trouble": str(error), "notes": self.notes()}))
            return
        self._remember(chain)
        wanted, refused = self._examine(chain)
        self._load([found for found in wanted.values() if self._is_due(found)], ingress)
        routes, unserved = dict(self._map.routes), {task: str(error) for task, error in refused.items()}
        for task, found in wanted.items():
            refusal = self._refusals.get(task)
            if refusal and refusal.entry == found.champion.entry.seq:
                unserved[task] = refusal.reason
            else:
                routes[task] = found.route(self._options.engines.get(task))
        unserved |= {task: why for task, why in applications.down(routes, self._table).items() if task not in unserved}
        self._switch(RouteMap(head=chain.head, routes=routes, unserved=unserved, notes=self.notes()))
        self._delete_unrouted()

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

    def _is_due(self, found: Warrant) -> bool:
        refusal = self._refusals.get(found.champion.record.task)
        if refusal and refusal.entry == found.champion.entry.seq:
            return time.monotonic() - refusal.tried > RETRY_SECONDS
        return found.app not in self._apps

    def _load(self, warrants: Sequence[Warrant], ingress: Iterable[RunTarget]) -> None:
        """Start these versions beside what is running and wait for each; keeps why one did not start."""
        failures = {found.app: self._fetched(found) for found in warrants}
        queue = self._policy.limits.queue
        targets = [*ingress]
        for found in warrants:
            if failures[found.app] is None:
                deployed = replica.application(self._settings, found, self._options, queue)
                targets.append(RunTarget(deployed, found.app, None, QUIET))
        longer = self._policy.upstream.start_seconds if self._policy.upstream else 0.0
        reasons = applications.run(targets, self._table, LOAD_SECONDS + longer) if targets else {}
        for found in warrants:
            task, entry = found.champion.record.task, found.champion.entry.seq
            reason = str(failures[found.app] or "") or reasons.get(found.app)
            self._refusals.pop(task, None)
            if reason:
                self._refusals[task] = Refusal(entry, reason, time.monotonic())
            else:
                self._apps.add(found.app)

    def _fetched(self, found: Warrant) -> HotlineError | None:
        return applications.fetch(self._settings, found.model)

    def _switch(self, fresh: RouteMap) -> None:
        """Publish `fresh`; when calls have a version to keep, every ingress first hands over which calls these are."""
        if self._stages.changes(self._map, fresh.routes) and not self._map.asking:
            self._publish(self._map.model_copy(update={"asking": True}), settled=False)
        self._publish(self._stages.staged(self._map, fresh))

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
        for task, route in fresh.routes.items():
            if route != self._map.routes.get(task):
                log.info("%s: answered by %s@%s, ledger entry %d", task, route.line, route.version, route.promotion)
        for note in fresh.notes:
            if note not in self._map.notes:
                log.warning("%s", note)
        if fresh.trouble and fresh.trouble != self._map.trouble:
            log.error("what is served stays: %s", " ".join(fresh.trouble.split()))

    def _delete_unrouted(self) -> None:
        """Delete what no ingress asks any more; a long recording may keep its version for as long as it is."""
        gone = self._apps - self._map.loaded.keys()
        if not gone or not ray.get(self._table.settled.remote(self._map.number)):
            return
        for name in gone:
            serve.delete(name, _blocking=False)
        self._apps -= gone


def _no_champion() -> RefusedError:
    return RefusedError(
        "no task has a champion: nothing would be served",
        expected="a promoted version",
        next="hotline judge a recipe, then hotline promote it",
    )


def _instead(fresh: RouteMap, task: str) -> str:
    route: Route | None = fresh.routes.get(task)
    return f" [answering: {route.line}@{route.version}]" if route else ""
