"""How much one key may ask: calls a minute, calls a day, calls at a time. Counted by each ingress for itself."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hotline.errors import TooManyCalls
from serving.access.records import Issued

DAY_SECONDS = 24 * 3600
MINUTE_SECONDS = 60.0


@dataclass
class _Used:
    ongoing: int = 0
    spent: float = 0.0
    """Of the minute's calls; they come back at an even pace."""
    seen: float = 0.0
    day: int = 0
    today: int = 0


class Quotas:
    """What every key has used."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._used: defaultdict[str, _Used] = defaultdict(_Used)

    @contextmanager
    def taken(self, key: Issued) -> Iterator[None]:
        """One call of the key, for as long as this context lasts. Raises TooManyCalls."""
        if key.concurrency is None and key.per_minute is None and key.per_day is None:
            yield
            return
        used = self._used[key.id]
        self._take(key, used)
        used.ongoing += 1
        try:
            yield
        finally:
            used.ongoing -= 1

    def _take(self, key: Issued, used: _Used) -> None:
        now = self._clock()
        day = int(now // DAY_SECONDS)
        if key.concurrency is not None and used.ongoing >= key.concurrency:
            raise _too_many(f"{key.concurrency} at a time", 1)
        if key.per_day is not None and used.day == day and used.today >= key.per_day:
            raise _too_many(f"{key.per_day} a day (UTC)", DAY_SECONDS - int(now % DAY_SECONDS))
        if key.per_minute is not None:
            pace = key.per_minute / MINUTE_SECONDS
            used.spent = max(0.0, used.spent - max(0.0, now - used.seen) * pace)
            used.seen = now
            if used.spent + 1 > key.per_minute:
                raise _too_many(f"{key.per_minute} a minute", math.ceil((used.spent + 1 - key.per_minute) / pace))
            used.spent += 1
        used.today = used.today + 1 if used.day == day else 1
        used.day = day


def _too_many(expected: str, retry_after: int) -> TooManyCalls:
    return TooManyCalls(
        "this access key has made too many calls",
        retry_after=max(1, retry_after),
        expected=f"at most {expected}",
        next="call again after the seconds that Retry-After says",
    )
