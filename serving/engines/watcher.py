"""What an engine tells of its work, whoever wants to know."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Who is told of the work."""

    def count(self, more: int) -> None:
        """So many more, or fewer, are being written."""

    def step(self, rows: int, seconds: float) -> None:
        """So many were computed at once, for so long."""


class Nobody:
    """A watcher who does not care."""

    def count(self, more: int) -> None: ...

    def step(self, rows: int, seconds: float) -> None: ...
