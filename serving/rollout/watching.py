"""The controller's eye on what was counted: who falls back, which challengers are tried, what differed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from hotline import notices
from hotline.chain import Chain
from hotline.errors import HotlineError
from hotline.policy import SitePolicy
from serving import warrant
from serving.rollout import differences
from serving.rollout.counts import Key, Pair
from serving.rollout.falls import Falls
from serving.routes import Route, RouteMap
from serving.warrant import Warrant

log = logging.getLogger("hotline.serving")

WRITE_SECONDS = 5.0


class Watching:
    """What one controller has seen of the versions that answer and of those that are tried."""

    def __init__(self, state: Path, site: SitePolicy) -> None:
        self._state, self._site = state, site
        self._falls = Falls(site.rollout, state)
        self._breaches: dict[int, str] = {}
        self._told: Counter[str] = Counter()
        self._wrote = 0.0
        self.lost: set[str] = set()
        """Applications that fell back since the last look: they keep no call."""

    def look(self, known: RouteMap, counts: Mapping[Key, int], pairs: Mapping[str, Sequence[Pair]]) -> None:
        """Judge every version by what was counted of it; challengers fall at once, champions with `replace`."""
        self.lost = set()
        self._keep(known, counts, pairs)
        for task, stage in known.trials.items():
            reason = self._falls.breach(stage.route.app, counts)
            if reason:
                self._fall(stage.route, stage.kind, reason, known.routes.get(task))
                self.lost.add(stage.route.app)
        found = {route.promotion: self._falls.breach(route.app, counts) for route in known.routes.values()}
        self._breaches = {entry: reason for entry, reason in found.items() if reason}

    def replace(self, chain: Chain, wanted: dict[str, Warrant]) -> dict[str, str]:
        """Put the verified champion before in the place of every one that fell back; gives back why, by task."""
        reasons: dict[str, str] = {}
        for task, found in list(wanted.items()):
            entry = found.champion.entry.seq
            breach = self._breaches.get(entry)
            before = self._before(chain, task, found) if breach or self._falls.why(entry) else None
            if before is None:
                continue
            if breach and not self._falls.why(entry):
                self._fall(found.route(), "champion", breach, before.route())
                self.lost.add(found.app)
            wanted[task] = before
            name = f"{found.model.line}@{found.model.version}"
            reasons[task] = f"{name} fell back: {self._falls.why(entry)}; hotline rollback {task} makes it the record"
        return reasons

    def tried(self, chain: Chain, wanted: dict[str, Warrant]) -> tuple[dict[str, Warrant], dict[str, str]]:
        """The challengers of these champions, and why others are not tried; both by task."""
        found: dict[str, Warrant] = {}
        refused: dict[str, str] = {}
        for task, champion in wanted.items():
            challenger = chain.challenger(task)
            if challenger is None:
                continue
            fell = self._falls.why(challenger.entry.seq)
            try:
                if fell:
                    refused[task] = f"it fell back: {fell}"
                elif challenger.record.model.digest == champion.model.digest:
                    refused[task] = "it is the champion"
                elif challenger.record.champion != champion.model.digest:
                    refused[task] = "its trial began beside another champion"
                elif task in self._site.rollout.drain_then_load:
                    refused[task] = "two versions do not fit beside each other (rollout.drain_then_load)"
                else:
                    found[task] = warrant.examine(chain, self._site, task, challenger.entry)
            except HotlineError as error:
                refused[task] = str(error)
        return found, refused

    def _fall(self, route: Route, stage: str, reason: str, instead: Route | None) -> None:
        self._falls.fall(route, stage, reason, instead)
        now = f"{instead.line}@{instead.version} answers" if instead else "nothing answers"
        named = {"site": self._site.site, "task": route.task, "version": f"{route.line}@{route.version}"}
        said = f"{reason} ({stage}); {now}"
        notices.tell(self._site, notices.Notice(event="fell_back", said=said, next="hotline rollback", **named))

    def _before(self, chain: Chain, task: str, fallen: Warrant) -> Warrant | None:
        """The verified champion before that one; None when there is none that may answer."""
        before = chain.previous(task)
        if before is None or before.record.model == fallen.model or self._falls.why(before.entry.seq):
            return None
        try:
            return warrant.examine(chain, self._site, task, before.entry)
        except HotlineError:
            return None

    def _keep(self, known: RouteMap, counts: Mapping[Key, int], pairs: Mapping[str, Sequence[Pair]]) -> None:
        """Write down the differences of challengers, not more often than every few seconds."""
        if time.monotonic() - self._wrote < WRITE_SECONDS:
            return
        differences.forget(self._state, self._site.rollout.differences_days)
        for task, stage in known.trials.items():
            app, against = stage.route.app, known.routes.get(task)
            compared = counts.get((app, "", "compared"), 0)
            if against and compared != self._told[app]:
                self._told[app], self._wrote = compared, time.monotonic()
                try:
                    differences.keep(self._state, stage.route, against, counts, pairs.get(app, ()))
                except OSError as error:
                    log.warning("the differences cannot be written down: %s", error)
