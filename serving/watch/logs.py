"""One JSON line for every request: its id, task, version, route, status and milliseconds; nothing that was said.

Lines gather in memory and are written once a second, into one file a day and process, in a folder that only its owner
reads.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

MOST_LINES = 10_000
"""That wait to be written; more are counted in the next line that is."""


class RequestLog:
    """The lines of one process; none at all when they are kept for no day."""

    def __init__(self, state: Path, days: int) -> None:
        self._folder, self._days = state / "watch" / "requests", days
        self._lines: list[str] = []
        self._lost, self._swept = 0, ""

    def add(self, **fields: Any) -> None:
        """A line that begins with the time; fields that are None or empty are left out."""
        if not self._days:
            return
        if len(self._lines) >= MOST_LINES:
            self._lost += 1
            return
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        said = {name: value for name, value in fields.items() if value not in (None, "")}
        self._lines.append(json.dumps({"time": now, **said}, ensure_ascii=False))

    def write(self) -> None:
        """What has gathered; a full disk loses lines, and no request."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        if self._lost:
            lines.append(json.dumps({"lost_lines": self._lost}))
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{today}-{os.getpid()}.jsonl"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self._lost = 0
        if today != self._swept:
            self._sweep()
            self._swept = today

    def _sweep(self) -> None:
        """Delete what is older than it is kept."""
        last = f"{datetime.now(UTC) - timedelta(days=self._days):%Y-%m-%d}"
        for path in self._folder.glob("????-??-??-*.jsonl"):
            if path.name < last:
                path.unlink(missing_ok=True)
