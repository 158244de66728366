"""Brings versions up beside those that answer, remembers why one did not come up, and ends those nobody asks."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.api import RunTarget
from ray.serve.schema import LoggingConfig

from hotline.errors import HotlineError
from hotline.policy import SitePolicy
from hotline.settings import Settings
from serving import applications, deployments
from serving.replica import Options
from serving.warrant import Warrant

LOAD_SECONDS = 180.0
RETRY_SECONDS = 60.0
"""A version that refused to start is tried again after this long."""
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)


@dataclass(frozen=True)
class Refusal:
    """Why the version that ledger entry `entry` names did not start, and when it was tried."""

    entry: int
    reason: str
    tried: float


class Loading:
    """Which applications run; one for each controller."""

    def __init__(self, settings: Settings, site: SitePolicy, options: Options) -> None:
        self._settings, self._policy, self._options = settings, site, options
        self._refusals: dict[str, Refusal] = {}
        self.apps: set[str] = set()

    def fetched(self, found: Warrant) -> HotlineError | None:
        """Have the version's checked bytes at hand for the replicas; gives back why that failed."""
        return applications.fetch(self._settings, found.model)

    def refusal(self, found: Warrant) -> str | None:
        """Why that version did not come up; None when it did, or was not tried."""
        refusal = self._refusals.get(found.app)
        return refusal.reason if refusal and refusal.entry == found.champion.entry.seq else None

    def is_due(self, found: Warrant) -> bool:
        """Whether the version is to be brought up: it is not there, and was not refused a moment ago."""
        if self.refusal(found):
            if found.task in self._policy.rollout.drain_then_load:
                return False  # every try would end the version that answers
            return time.monotonic() - self._refusals[found.app].tried > RETRY_SECONDS
        return found.app not in self.apps

    def load(self, warrants: Sequence[Warrant], table: Any, ingress: Iterable[RunTarget] = ()) -> None:
        """Start these versions beside what is running and wait for each; keeps why one did not start."""
        failures = {found.app: self.fetched(found) for found in warrants}
        targets = [*ingress]
        for found in warrants:
            if failures[found.app] is None:
                deployed = deployments.application(self._settings, found, self._options, self._policy.limits.queue)
                targets.append(RunTarget(deployed, found.app, None, QUIET))
        longer = self._policy.upstream.start_seconds if self._policy.upstream else 0.0
        reasons = applications.run(targets, table, LOAD_SECONDS + longer) if targets else {}
        for found in warrants:
            reason = str(failures[found.app] or "") or reasons.get(found.app)
            self._refusals.pop(found.app, None)
            if reason:
                self._refusals[found.app] = Refusal(found.champion.entry.seq, reason, time.monotonic())
            else:
                self.apps.add(found.app)

    def end(self, apps: Collection[str], wait: bool = False) -> None:
        """Delete these applications; they finish the calls that they have."""
        for name in apps:
            serve.delete(name, _blocking=wait)
        self.apps -= set(apps)

    def end_unasked(self, asked: Collection[str], table: Any, number: int) -> None:
        """Delete what no ingress asks any more; a long recording may keep its version for as long as it is."""
        gone = self.apps - set(asked)
        if gone and ray.get(table.settled.remote(number)):
            self.end(gone)
            ray.get([table.forget.remote(name) for name in gone])
