"""What a replica tells of its work: how much is computed at once, and how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hotline.settings import Settings
from serving.watch.meters import meters

if TYPE_CHECKING:
    from hotline.records import ModelAddress


class Computing:
    """The batches of one replica."""

    def __init__(self, settings: Settings, task: str, model: ModelAddress) -> None:
        self._meters, self._labels = meters(settings.state), (task, f"{model.line}@{model.version}")

    @contextmanager
    def batch(self, rows: int) -> Iterator[None]:
        """So many inputs are computed at once inside of this context."""
        began = time.perf_counter()
        self.count(rows)
        try:
            yield
        finally:
            self.count(-rows)
            self.step(rows, time.perf_counter() - began)

    def count(self, more: int) -> None:
        """So many more, or fewer, inputs are being computed."""
        self._meters("hotline_computing_rows", *self._labels).inc(more)

    def step(self, rows: int, seconds: float) -> None:
        """So many were computed at once, for so long."""
        self._meters("hotline_batch_rows", *self._labels).observe(rows)
        self._meters("hotline_compute_seconds_total", *self._labels).inc(seconds)

    def resident(self, size: int) -> None:
        """So many bytes of model are in this replica's memory now."""
        self._meters("hotline_resident_bytes", *self._labels).set(size)
