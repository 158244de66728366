"""When calls began: the number of the map that each call met first, in bounded memory. Calls are kept as hashes."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping

CALLS = 200_000
"""Held at once; beyond, those that were silent longest are forgotten."""
_BYTES = 8


def hashed(site: str, call: str) -> bytes:
    """What stands for the call: a table of these names nobody's call."""
    return hashlib.blake2b(f"{site}\0{call}".encode(), digest_size=_BYTES).digest()


def place(site: str, call: str) -> float:
    """Where in [0, 1) the call lies among all; a share of the calls are those below it. The same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"place\0{site}\0{call}".encode(), digest_size=_BYTES).digest()) / 2**64


class Begun:
    """Call → number of the map that it began with; the first word counts until the call was silent for a while."""

    def __init__(self, silent_seconds: float, calls: int = CALLS) -> None:
        self._silent_seconds, self._most = silent_seconds, calls
        self._calls: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, call: bytes) -> int | None:
        """The number, None for a call that is not known, or not any more; the call has been heard again."""
        known = self._calls.get(call)
        if known is None or time.monotonic() - known[1] > self._silent_seconds:
            return None
        self._calls[call] = (known[0], time.monotonic())
        self._calls.move_to_end(call)
        return known[0]

    def put(self, call: bytes, number: int) -> int:
        """The number that the call began with: this one, unless it is known with another."""
        known = self.get(call)
        if known is not None:
            return known
        self._calls[call] = (number, time.monotonic())
        self._calls.move_to_end(call)
        self._forget()
        return number

    def all(self) -> Mapping[bytes, int]:
        """Every call that is held."""
        self._forget()
        return {call: number for call, (number, _) in self._calls.items()}

    def _forget(self) -> None:
        latest = time.monotonic() - self._silent_seconds
        while self._calls:
            oldest = next(iter(self._calls.values()))
            if len(self._calls) <= self._most and oldest[1] > latest:
                break
            self._calls.popitem(last=False)
