"""Fall-backs: a version that fails, is slow or answers otherwise too often answers no more, until an operator decides.

A fall-back is an event in the state folder, not an entry of the ledger: serving signs nothing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hotline.rollout import Rollout
from serving.rollout.counts import Key, at_least
from serving.routes import Route

log = logging.getLogger("hotline.serving")


class Falls:
    """Which ledger entries are not followed any more, and why; kept over restarts."""

    def __init__(self, rollout: Rollout, state: Path) -> None:
        self._rollout, self._folder = rollout, state / "rollout"
        self._fallen: dict[int, str] = {}
        path = self._folder / "fallen.json"
        if path.is_file():
            self._fallen = {int(seq): str(why) for seq, why in json.loads(path.read_text(encoding="utf-8")).items()}

    def why(self, entry: int) -> str | None:
        """Why what that ledger entry says is not followed; None when it is."""
        return self._fallen.get(entry)

    def breach(self, app: str, counts: Mapping[Key, int]) -> str | None:
        """What the version's counts show beyond doubt to be over the policy's limits, in words."""
        limits = self._rollout

        def of(what: Any) -> int:
            return counts.get((app, "", what), 0)

        failed, answered, slow = (of(what) for what in ("failed", "answered", "slow"))
        if failed + answered >= limits.least_calls:
            if at_least(failed, failed + answered) > limits.max_errors:
                return f"{failed} of {failed + answered} calls failed"
            if at_least(slow, answered) > limits.max_slow:
                return f"{slow} of {answered} calls took longer than {limits.slow_seconds:g} s"
        return self._disagreement(app, counts)

    def _disagreement(self, app: str, counts: Mapping[Key, int]) -> str | None:
        """Where the version answers otherwise most surely, if anywhere too often: a dialect, or everything."""
        found: list[tuple[float, str]] = []
        broken = False
        for name in {key[1] for key in counts if key[0] == app}:
            compared, differed = (counts.get((app, name, what), 0) for what in ("compared", "differed"))
            where, low = f" in {name}" if name else "", at_least(differed, compared)
            found.append((low, f"{differed} of {compared} compared calls{where} were answered otherwise"))
            broken |= compared >= self._rollout.least_calls and low > self._rollout.max_disagreement
        return max(found)[1] if broken else None

    def fall(self, route: Route, stage: str, reason: str, instead: Route | None) -> None:
        """From now on the entry behind `route` is not followed; written down before anything else happens."""
        self._fallen[route.promotion] = reason
        now = f"{instead.line}@{instead.version}" if instead else None
        event = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "event": "fall-back",
            "task": route.task,
            "stage": stage,
            "version": f"{route.line}@{route.version}",
            "digest": route.digest,
            "entry": route.promotion,
            "reason": reason,
            "answering": now,
        }
        log.error("%s: %s@%s (%s) falls back: %s [answering: %s]", *_words(route), stage, reason, now)
        try:
            write(self._folder / "fallen.json", json.dumps(self._fallen))
            write(self._folder / "events.jsonl", json.dumps(event, ensure_ascii=False) + "\n", append=True)
        except OSError as error:
            log.warning("the fall-back cannot be written down: %s", error)


def write(path: Path, content: str, append: bool = False) -> None:
    """A file that only its owner may read, in a folder of the same kind."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    how = os.O_APPEND if append else os.O_TRUNC
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600), "w", encoding="utf-8") as file:
        file.write(content)


def _words(route: Route) -> tuple[str, str, str]:
    return route.task, route.line, route.version
