"""What is counted of a version's answers, per slice, over the last minutes, and what a count lets one say."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

What = Literal["answered", "failed", "slow", "compared", "differed"]
Key = tuple[str, str, What]
"""The application, the slice (a dialect's tag, empty for everything), and what is counted."""
LONGEST_SECONDS = 3600.0
WORST = 10
"""Pairs that are kept of each slice."""
Z = 3.0
"""Standard errors of a bound: it is looked at every second, so it must hold more often than in 95 of 100 looks."""


class Pair(NamedTuple):
    """One input and what two versions said to it."""

    app: str
    slice: str
    distance: float
    """0: the same, 1: nothing in common."""
    question: dict[str, Any]
    champion: dict[str, Any]
    candidate: dict[str, Any]


class Window:
    """Reports of the last hour and the worst pairs; forgets what is older."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, Counter[Key]]] = deque()
        self._worst: dict[tuple[str, str], list[Pair]] = {}

    def add(self, counts: Mapping[Key, int], pairs: Iterable[Pair]) -> None:
        now = time.monotonic()
        self._reports.append((now, Counter(counts)))
        while self._reports[0][0] < now - LONGEST_SECONDS:
            self._reports.popleft()
        for pair in pairs:
            known = self._worst.setdefault((pair.app, pair.slice), [])
            known.append(pair)
            known.sort(key=badness, reverse=True)
            del known[WORST:]

    def sums(self, seconds: float) -> Counter[Key]:
        """Everything that was reported in the last so many seconds."""
        latest, sums = time.monotonic() - seconds, Counter[Key]()
        for at, counts in reversed(self._reports):
            if at < latest:
                break
            sums.update(counts)
        return sums

    def worst(self) -> dict[str, list[Pair]]:
        """The worst pairs by application."""
        found: dict[str, list[Pair]] = {}
        for (app, _), pairs in sorted(self._worst.items()):
            found.setdefault(app, []).extend(pairs)
        return found

    def forget(self, app: str) -> None:
        """What the application did before counts no more."""
        for _, counts in self._reports:
            for key in [key for key in counts if key[0] == app]:
                del counts[key]
        self._worst = {key: pairs for key, pairs in self._worst.items() if key[0] != app}


def badness(pair: Pair) -> tuple[float, float]:
    """How far apart the answers are, then how sure both versions were."""
    return pair.distance, sum(float(said.get("confidence") or 0.0) for said in (pair.champion, pair.candidate))


def at_least(found: int, among: int, z: float = Z) -> float:
    """The lower Wilson bound (1927, doi:10.1080/01621459.1927.10502953) of the share that `found` of `among` shows."""
    if not among:
        return 0.0
    share, square = found / among, z * z
    middle = share + square / (2 * among)
    width = z * math.sqrt(share * (1 - share) / among + square / (4 * among * among))
    return max(0.0, (middle - width) / (1 + square / among))
