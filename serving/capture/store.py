"""The file of captured calls: SQLite, every content sealed, every row gone after its time.

In the clear are the request id, the task, times, and the id of the access key that corrected.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

FILE = "captures.db"
_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
  id TEXT PRIMARY KEY, task TEXT NOT NULL, time REAL NOT NULL, expires REAL NOT NULL, sealed BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_by_time ON calls (time);
CREATE INDEX IF NOT EXISTS calls_by_end ON calls (expires);
CREATE TABLE IF NOT EXISTS corrections (
  id TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE, key TEXT NOT NULL, time REAL NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (id, key)
) WITHOUT ROWID;
"""
AT_ONCE = 8
"""Rows that give way together when the file is full."""


@dataclass(frozen=True)
class Sealed:
    """A row: a call, or a correction of one; `key` is empty for calls, and without required access."""

    id: str
    task: str
    time: float
    expires: float
    content: bytes
    key: str = ""


class Store:
    """One site's captures. Reading, writing and deleting need no key; contents stay sealed."""

    def __init__(self, path: Path, most_bytes: int = 1024**3, clock: Callable[[], float] = time.time) -> None:
        self.path, self._most_bytes, self._clock = path, most_bytes, clock

    def add(self, calls: Iterable[Sealed]) -> None:
        """Keep them; when the file is full, the oldest go."""
        with self._open() as database:
            rows = [(call.id, call.task, call.time, call.expires, call.content) for call in calls]
            database.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)", rows)
        self._shrink()

    def find(self, id: str) -> Sealed | None:
        """The call with that request id; None when it was not captured here, or its time has passed."""
        found = self._read("SELECT id, task, time, expires, sealed FROM calls WHERE id = ? AND expires > ?", id)
        return found[0] if found else None

    def correct(self, id: str, key: str, content: bytes) -> None:
        """Keep a correction as long as its call; one that the same key gave before is replaced."""
        with self._open() as database:
            database.execute(
                "INSERT OR REPLACE INTO corrections VALUES (?, ?, ?, ?)", (id, key, self._clock(), content)
            )

    def calls(self, since: float = 0.0, until: float = float("inf")) -> Iterator[Sealed]:
        """Calls of that time that are still kept, oldest first; seconds since 1970."""
        place = (since, "")
        while True:
            some = self._read(
                "SELECT id, task, time, expires, sealed FROM calls"
                " WHERE (time, id) > (?, ?) AND time < ? AND expires > ? ORDER BY time, id LIMIT 64",
                *place,
                until,
            )
            yield from some
            if not some:
                return
            place = (some[-1].time, some[-1].id)

    def corrections(self, task: str) -> list[Sealed]:
        """Corrections of the task's calls, the newest of each call, oldest first."""
        every = self._read(
            "SELECT id, calls.task, corrections.time, expires, corrections.sealed, key FROM corrections"
            " JOIN calls USING (id) WHERE calls.task = ? AND expires > ? ORDER BY corrections.time",
            task,
        )
        return list({each.id: each for each in every}.values())

    def prune(self) -> int:
        """Delete whose time has passed, and give back how many; their bytes in the file are overwritten."""
        if not self.path.exists():
            return 0
        with self._open() as database:
            return database.execute("DELETE FROM calls WHERE expires <= ?", (self._clock(),)).rowcount

    def _read(self, query: str, *values: object) -> list[Sealed]:
        """Rows of a query whose last parameter is the time that it is now."""
        if not self.path.exists():
            return []
        with self._open() as database:
            return [Sealed(*row) for row in database.execute(query, (*values, self._clock()))]

    def _shrink(self) -> None:
        while self.path.stat().st_size > self._most_bytes:
            with self._open() as database:
                oldest = "DELETE FROM calls WHERE id IN (SELECT id FROM calls ORDER BY time LIMIT ?)"
                if not database.execute(oldest, (AT_ONCE,)).rowcount:
                    return

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction; the file is made readable by its owner only."""
        if not self.path.exists():
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(self.path, timeout=10)) as database:
            for pragma in ("auto_vacuum = FULL", "secure_delete = ON", "foreign_keys = ON"):
                database.execute(f"PRAGMA {pragma}")
            if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
                database.executescript(_TABLES)
            with database:
                yield database
