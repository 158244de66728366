"""Whoever tries keys is made to wait, longer with every try."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from hotline.errors import TooManyCalls

FREE = 5
"""Wrong keys without a wait: people mistype."""
MOST_SECONDS = 60.0
FORGOTTEN_SECONDS = 600.0
REMEMBERED = 10_000
"""Who tried last; the longest ago are forgotten first."""


@dataclass
class _Tries:
    wrong: int = 0
    last: float = 0.0
    until: float = 0.0


class Strangers:
    """Counts wrong keys by who sent them: an address, or an address and the key that it claimed to have.

    A claimed key has a count of its own, so that nobody who shares an address with a stranger is kept out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tries)

    def refuse_waiting(self, who: tuple[str, str]) -> None:
        """Raises TooManyCalls while that one has to wait; the key that came along is not even looked at."""
        tries = self._tries.get(who)
        if tries and tries.until > (now := self._clock()):
            raise TooManyCalls(
                "too many wrong access keys came from there",
                retry_after=math.ceil(tries.until - now),
                next="wait, then send the right key",
            )

    def wrong(self, who: tuple[str, str]) -> None:
        """Count one wrong key: 1, 2, 4 … seconds of waiting after the free ones."""
        now = self._clock()
        tries = self._tries.setdefault(who, _Tries())
        if now - tries.last > FORGOTTEN_SECONDS:
            tries.wrong = 0
        tries.wrong, tries.last = tries.wrong + 1, now
        if tries.wrong > FREE:
            tries.until = now + min(2.0 ** min(tries.wrong - FREE - 1, 10), MOST_SECONDS)
        self._tries.move_to_end(who)
        while len(self._tries) > REMEMBERED:
            self._tries.popitem(last=False)


def neighbourhood(host: str) -> str:
    """The address; of an IPv6 address the /64 that one subscriber has for himself."""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network((host.split("%")[0], 64), strict=False))
    except ValueError:
        return host
