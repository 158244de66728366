"""Who asked what, when, and how it ended: JSON Lines without bodies, names, addresses or call ids.

A line has `time` (UTC), `key` (its id), `method`, `what` (the route, without what a caller put into it), `status` and
`request_id`. Calls without a right key are counted, not listed: a line a second says how `many` there were.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("ray.serve")

WAITING = 10_000
"""Lines; when the disk does not keep up, more are counted as lost."""
FILE_BYTES = 64 * 1024**2
FILES = 64
"""Oldest ones are deleted: the log never takes more than 4 GiB."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
EVERY_SECONDS = 1.0


class Audit:
    """Written by a thread of its own; a reply never waits for it. Files of a process are its own."""

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        self._folder, self._file_bytes, self._files = folder, file_bytes, files
        self._lines: deque[tuple[float, str, str, str, int, object]] = deque()
        self._strangers: Counter[tuple[str, str, int]] = Counter()
        self._lost = 0
        self._path: Path | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def call(self, key: str, method: str, what: str, status: int, request_id: object) -> None:
        """One call with a right key; `status` 0 says that the caller hung up before an answer."""
        if len(self._lines) < WAITING:
            self._lines.append((time.time(), key, method, what, status, request_id))
        else:
            self._lost += 1
        self._start()

    def stranger(self, method: str, what: str, status: int) -> None:
        """One call without a right key."""
        self._strangers[(_known(method), what, status)] += 1
        self._start()

    def flush(self) -> None:
        """Write down what waits."""
        with self._lock:
            try:
                self._write(list(self._waiting()))
            except OSError as error:
                log.error("the audit log cannot be written: %s", error)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(EVERY_SECONDS)
            self.flush()

    def _waiting(self) -> Iterator[dict[str, Any]]:
        while self._lines:
            at, key, method, what, status, id = self._lines.popleft()
            called = {"time": at, "key": key, "method": _known(method), "what": what, "status": status}
            yield {**called, "request_id": str(id)}
        many, self._strangers = self._strangers, Counter()
        for (method, what, status), count in many.items():
            yield {
                "time": time.time(),
                "key": None,
                "method": method,
                "what": what,
                "status": status,
                "request_id": None,
                "many": count,
            }
        if lost := self._lost:
            self._lost -= lost
            yield {"time": time.time(), "lost": lost}

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        for line in lines:
            line["time"] = datetime.fromtimestamp(line["time"], UTC).isoformat(timespec="milliseconds")
        if self._path is None or not self._path.exists() or self._path.stat().st_size >= self._file_bytes:
            self._path = self._next()
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def _next(self) -> Path:
        """A new file, for its owner's eyes only."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"audit-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.jsonl"
        path.touch(mode=0o600)
        for old in sorted(self._folder.glob("audit-*.jsonl"))[: -self._files]:
            old.unlink(missing_ok=True)
        return path


def _known(method: str) -> str:
    return method if method in METHODS else "other"
