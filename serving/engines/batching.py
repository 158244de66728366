"""Dynamic batching: while one batch is computed the next one gathers, and calls of like size go together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from serving.engines.gathering import Call, Gathering, Reply, Waiting

HELD_UP = 1.5
"""Meanwhile a batch that is not urgent takes at most so many times as long as an urgent call alone."""
FORGETS = 0.97
"""Of a batch's weight in what is known of the pace, so much is left after the next one."""


class Pace:
    """How long batches take, learnt from those that were computed: a line over their padded size."""

    def __init__(self) -> None:
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)  # of weights, sizes, seconds, sizes squared, sizes by seconds

    def learn(self, size: float, seconds: float) -> None:
        seen = (1.0, size, seconds, size * size, size * seconds)
        self._sums = tuple(FORGETS * old + new for old, new in zip(self._sums, seen, strict=True))  # type: ignore[assignment]

    def seconds(self, size: float) -> float:
        """Least squares; proportional to the size while all batches were of one size."""
        weight, x, y, xx, xy = self._sums
        spread = weight * xx - x * x
        slope = max(0.0, (weight * xy - x * y) / spread) if spread > 1e-6 * xx * weight else y / x if x else 0.0
        return max(0.0, (y - slope * x) / weight if weight else 0.0) + slope * size


class Batcher(Gathering[Call, Reply]):
    """Answers calls with `work`, which is given one batch at a time, in a thread of its own.

    A call that finds nothing at work does not wait. Of the calls that wait, the oldest urgent one leads the next batch,
    or the oldest where none is urgent, so none waits for ever; those nearest to it in size join while they fit, so that
    little is padded. While urgent calls come, what is not urgent goes in batches that hardly hold one up.
    """

    def __init__(
        self,
        work: Callable[[list[Call]], Sequence[Reply]],
        size: Callable[[Call], float],
        fits: Callable[[int, float], bool],
        is_urgent: Callable[[Call], bool] = lambda _: True,
        thread: Executor | None = None,
    ) -> None:
        """`fits` says whether so many calls, the largest of that size, are one batch; one call alone always is.

        `thread` does the work, where it has done other work on the same model; else one of the batcher's own.
        """
        super().__init__(is_urgent, thread or ThreadPoolExecutor(1, "batches"))
        self._work, self._size, self._fits = work, size, fits
        self._pace, self._urgent_size = Pace(), 0.0

    async def _work_off(self) -> None:
        while batch := self._next():
            calls, begun = [each.call for each in batch], time.perf_counter()
            computing = asyncio.get_running_loop().run_in_executor(self._thread, self._work, calls)
            await asyncio.wait([computing])
            error = computing.exception()
            self._pace.learn(len(batch) * max(map(self._size, calls)), time.perf_counter() - begun)
            for number, each in enumerate(batch):
                if error:
                    each.fail(error)
                else:
                    each.tell(computing.result()[number])

    def _next(self) -> list[Waiting[Call, Reply]]:
        """The batch to compute now, taken out of those that wait."""
        urgent = self._urgent()
        eligible = urgent or self._waiting
        if not eligible:
            return []
        fits = self._fits if urgent else self._fits_between
        sizes = {each: self._size(each.call) for each in eligible}
        leader = eligible[0]
        batch, largest = [leader], sizes[leader]
        self._urgent_size = sizes[leader] if urgent else self._urgent_size
        for each in sorted(eligible[1:], key=lambda other: abs(sizes[other] - sizes[leader])):
            if fits(len(batch) + 1, max(largest, sizes[each])):
                batch.append(each)
                largest = max(largest, sizes[each])
        self._take(batch)
        return batch

    def _fits_between(self, calls: int, largest: float) -> bool:
        """Whether a batch that is not urgent would hold up no urgent call that may come meanwhile."""
        if self._is_live():
            held_up, alone = self._pace.seconds(calls * largest), self._pace.seconds(self._urgent_size)
            if held_up > HELD_UP * alone:
                return False
        return self._fits(calls, largest)
