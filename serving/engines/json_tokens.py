"""What JSON makes of a vocabulary's tokens: which escape a character that could be written, and which end things.

Legend: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QUOTE, BACKSLASH, CLOSERS = ord('"'), ord("\\"), b"]}"
NEAREST_OUTSIDE = (*b"]}", *b"ntf", *b",:", *b"0123456789", *b'"', *b"[{", *b"-.eE+")
"""First bytes outside of a string, those that end an answer soonest first."""
FAR = 1 << 20


class Place(NamedTuple):
    """Where in a JSON text one is: within a string, and right after the backslash of an escape."""

    within: bool = False
    escaping: bool = False


class JsonTokens:
    """Tokens by their bytes."""

    def __init__(self, contents: Sequence[bytes]) -> None:
        self._contents = contents
        self._escapes = [
            np.array([_writes_escape(content, escaping) for content in contents]) for escaping in (False, True)
        ]

    def escapes(self, place: Place) -> NDArray[np.bool_]:
        r"""Which tokens write a character as \u and its number, (V,)."""
        return self._escapes[place.escaping]

    def after(self, place: Place, number: int) -> Place:
        """Where one is after that token."""
        within, escaping = place
        for byte in self._contents[number]:
            if escaping:
                escaping = False
            elif byte == QUOTE:
                within = not within
            else:
                escaping = within and byte == BACKSLASH
        return Place(within, escaping)

    def nearest(self, allowed_V: NDArray[np.bool_], place: Place) -> int:
        """The allowed token that most likely leads to the end soonest."""
        numbers = np.flatnonzero(allowed_V)
        ranks_V = self._ranks_within if place.within else self._ranks_outside
        return int(numbers[ranks_V[numbers].argmin()])

    @cached_property
    def _ranks_within(self) -> NDArray[np.int64]:
        return np.array([_rank_within(content) for content in self._contents])

    @cached_property
    def _ranks_outside(self) -> NDArray[np.int64]:
        ranks = {byte: rank for rank, byte in enumerate(NEAREST_OUTSIDE)}
        return np.array(
            [
                (ranks.get(content[0], len(ranks)) * 1000 + 100 - min(99, len(content))) if content else FAR
                for content in self._contents
            ]
        )


def _rank_within(content: bytes) -> int:
    """The end of the string first, with as many ends of other things as possible; then short plain text."""
    if content[:1] == b'"' and all(byte in CLOSERS for byte in content[1:]):
        return -len(content)
    return len(content) + (0 if content and BACKSLASH not in content and QUOTE not in content else FAR)


def _writes_escape(content: bytes, escaping: bool) -> bool:
    for byte in content:
        if escaping and byte == ord("u"):
            return True
        escaping = not escaping and byte == BACKSLASH
    return False
