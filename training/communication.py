"""How long a rank is in exchanges with the others: DeepSpeed's collective operations, timed by DeepSpeed itself.

It waits for the device around every operation that it times, so that nothing overlaps while it is told to: that is for
the steps that are measured. What it finds is the time without overlap, waiting for a slower rank included.
"""

from __future__ import annotations

import sys
from typing import Any

MILLISECONDS = 1e3


class Exchanges:
    """Seconds in DeepSpeed's collective operations since the last look; none are heard where no DeepSpeed speaks."""

    def __init__(self) -> None:
        comm: Any = sys.modules.get("deepspeed.comm.comm")  # importing it for one process would cost seconds
        self._comm = comm if comm is not None and comm.is_initialized() else None

    @property
    def heard(self) -> bool:
        return self._comm is not None

    def listen(self, on: bool) -> None:
        """Time the operations from here on, or no longer."""
        if self._comm is not None:
            self._comm.comms_logger.enabled = self._comm.comms_logger.prof_all = on

    def seconds(self) -> float:
        """Spent since the last look."""
        if self._comm is None:
            return 0.0
        self._comm.comms_logger.comms_dict.clear()  # running sums (DeepSpeed 0.19), so the timers themselves are read
        spent = sum(timer.elapsed(reset=True) for timer in self._comm.timers.get_timers().values())
        return float(spent) / MILLISECONDS
