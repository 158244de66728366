"""What a job cost: wall seconds, CPU seconds and peak memory of the whole process tree."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import psutil

SAMPLE_SECONDS = 0.5
MEMORY_EVERY = 8
"""Samples between two looks at memory: the kernel walks every page of every process for them."""


class Usage:
    """Samples this process and everything it started, until the block ends.

    Memory is the proportional set size summed over the tree (pages that several processes share count once), or the
    resident size where the system does not tell. A process that lives for less than a sample may be missed.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._cpu_seconds: dict[tuple[int, float], float] = {}
        self._samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._started = time.perf_counter()
        self._known: dict[int, psutil.Process] = {}

    def __enter__(self) -> Usage:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    @property
    def cpu_seconds(self) -> float:
        return sum(self._cpu_seconds.values())

    @property
    def peak_gib(self) -> float:
        return self.peak_bytes / 2**30

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        me = psutil.Process()
        for process in [me, *me.children(recursive=True)]:
            self._known.setdefault(process.pid, process)  # kept: Ray's processes leave their parent
        weighs, total = self._samples % MEMORY_EVERY == 0, 0
        self._samples += 1
        for pid, process in list(self._known.items()):
            try:
                times = process.cpu_times()
                self._cpu_seconds[(pid, process.create_time())] = times.user + times.system
                total += _bytes(process) if weighs else 0
            except psutil.Error:
                del self._known[pid]
        self.peak_bytes = max(self.peak_bytes, total)


def _bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return int(process.memory_info().rss)
