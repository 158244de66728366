"""How busy an ingress is: calls in progress, answered and failed, and how long the last ones took, per task."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi.exceptions import RequestValidationError

from hotline.errors import HotlineError

LAST = 200
"""So many calls tell how long one takes now."""


@dataclass
class Busy:
    """One task's calls since this ingress started."""

    ongoing: int = 0
    answered: int = 0
    failed: int = 0
    """Those that were none of the caller's mistakes."""
    last_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=LAST))

    @property
    def median_seconds(self) -> float | None:
        """Of the last answers, from the end of the request's body to the answer; None before the first."""
        return statistics.median(self.last_seconds) if self.last_seconds else None


class Load:
    """Counts calls as they begin and end."""

    def __init__(self) -> None:
        self.tasks: defaultdict[str, Busy] = defaultdict(Busy)

    @contextmanager
    def of(self, task: str) -> Iterator[None]:
        """A call of the task, for as long as this context lasts."""
        busy, started = self.tasks[task], time.perf_counter()
        busy.ongoing += 1
        try:
            yield
        except HotlineError as error:
            busy.failed += error.http_status >= 500
            raise
        except RequestValidationError:
            raise  # the caller's
        except Exception:
            busy.failed += 1
            raise
        else:
            busy.answered += 1
            busy.last_seconds.append(time.perf_counter() - started)
        finally:
            busy.ongoing -= 1
