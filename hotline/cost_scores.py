"""Scores of what answers cost: seconds and memory, as additive statistics (hotline.scores).

A task that declares one is answered a row at a time, so that a second is one that a caller waits. Times differ from run
to run: judged again, such a task gets another verdict. Quantiles are no sums, so rows are counted in bins 1 % wide, and
a quantile is the upper end of its bin. Legend: n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hotline.costs import Cost
from hotline.scores import Array, Score, mean
from hotline.task import Answer, Target

LEAST, STEP, BINS = 1e-4, 1.01, 1852
"""Lower end of the first bin, ratio of the ends of each, and how many: up to 1e4 seconds, or GiB."""


def _counted(value: Callable[[Cost], float]) -> Callable[[Sequence[Target], Sequence[Answer]], Any]:
    """Per row, a one in the bin of its value; nothing for an answer whose cost was not measured."""

    def statistics(targets: Sequence[Target], answers: Sequence[Answer]) -> Any:
        from scipy import sparse

        found = [(row, value(answer.cost)) for row, answer in enumerate(answers) if answer.cost is not None]
        rows, values = zip(*found, strict=True) if found else ((), ())
        places = np.log(np.maximum(np.asarray(values, dtype=np.float64), LEAST) / LEAST) / np.log(STEP)
        cells = (np.ones(len(rows)), (np.asarray(rows, dtype=int), np.clip(places.astype(int), 0, BINS - 1)))
        return sparse.csr_array(cells, shape=(len(answers), BINS))

    return statistics


def _quantile(share: float) -> Callable[[Array], Array]:
    """Counts by bin → the upper end of the bin that the share of rows reaches; NaN without rows."""

    def finish(sums: Array) -> Array:
        reached = sums.cumsum(axis=1)
        total = reached[:, -1:]
        # rounding must not push the last row past its bin
        bins = (reached >= share * total - 1e-9).argmax(axis=1)
        return np.where(total[:, 0] > 0, LEAST * STEP ** (bins + 1), np.nan)

    return finish


def _real_time(targets: Sequence[Target], answers: Sequence[Answer]) -> Array:
    """Per row: seconds of computing, and of sound; nothing for answers to no sound."""
    heard = [answer.cost if answer.cost and answer.cost.audio_seconds else None for answer in answers]
    rows = [(cost.seconds, cost.audio_seconds) if cost else (0.0, 0.0) for cost in heard]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def latency(share: float) -> Score:
    """Seconds within which that share of the answers is there, to 1 %."""
    name, statistics = f"latency_p{share * 100:g}", _counted(lambda cost: cost.seconds)
    return Score(name, statistics, _quantile(share), higher_is_better=False, timed=True)


def peak(name: str, value: Callable[[Cost], float]) -> Score:
    """The largest value of any answer, to 1 %."""
    return Score(name, _counted(value), _quantile(1.0), higher_is_better=False, timed=True)


latency_p50, latency_p95 = latency(0.50), latency(0.95)
rtf = Score("rtf", _real_time, mean, higher_is_better=False, timed=True)
"""Seconds of computing per second of sound."""
memory_gib = peak("memory_gib", lambda cost: cost.memory_gib)
"""Resident memory of the process that answers, with everything that it holds."""
gpu_memory_gib = peak("gpu_memory_gib", lambda cost: cost.gpu_memory_gib)
"""Peak of GPU memory that its tensors took."""
