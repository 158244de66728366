"""Hotwords: words that a caller expects to be said, as a bonus in the prefix beam search of CTC.

Shallow fusion with a list of words (Zhao et al. 2019; the context graph of icefall is of this kind): each symbol that
carries on a word is lent a bonus, which is taken back when the word breaks off. What the sound does not bear is not
considered, so a list alone puts no word into a transcript.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hotline.families import ctc
from hotline.families.ctc import BLANK, LogProbabilities

BONUS = 1.0
"""Nats for each symbol of a word; chosen on generated validation calls (docs/api.md)."""
REACH = 8.0
"""Nats below a frame's best symbol: what is less likely is not carried on, whatever the list says."""
BEAMS = 8
"""At least so many when there are words to listen for."""
Prefixes = dict[tuple[int, ...], tuple[float, float]]
"""Symbols so far → log-probability of ending in a blank, and in a symbol."""


@dataclass
class Node:
    """A place in the tree of words."""

    following: dict[int, Node] = field(default_factory=dict)
    ends: bool = False


@dataclass(frozen=True)
class Place:
    """Where a prefix stands in the tree, what it has earned, and what it would lose if the word broke off here."""

    node: Node
    earned: float = 0.0
    lent: float = 0.0

    @property
    def worth(self) -> float:
        return self.earned + self.lent


class Hotwords:
    """The words as sequences of symbols."""

    def __init__(self, words: Iterable[Sequence[int]], bonus: float = BONUS) -> None:
        self.root, self.bonus = Node(), bonus
        for symbols in words:
            node = self.root
            for symbol in symbols:
                node = node.following.setdefault(symbol, Node())
            node.ends = node is not self.root

    def start(self) -> Place:
        return Place(self.root)

    def after(self, place: Place, symbol: int) -> Place:
        """Where a prefix stands after one more symbol."""
        node = place.node.following.get(symbol)
        lent = place.lent if node else 0.0  # a word that broke off gives back what it was lent
        node = node or self.root.following.get(symbol)
        if node is None:
            return Place(self.root, place.earned)
        lent += self.bonus
        return Place(node, place.earned + lent, 0.0) if node.ends else Place(node, place.earned, lent)


def beam(
    scores_LV: LogProbabilities, beams: int, words: Hotwords, blank: int = BLANK
) -> list[tuple[tuple[int, ...], float]]:
    """As `ctc.beam`, with the words' bonus in the ranking; the log-probabilities given back are the sound's alone."""
    prefixes: Prefixes = {(): (0.0, -math.inf)}
    places: dict[tuple[int, ...], Place] = {(): words.start()}
    for frame_V in scores_LV:
        grown = _grown(frame_V, prefixes, places, words, ctc.likely(frame_V, beams, blank), blank)
        worth = {prefix: ctc.log_sum(*ends) + places[prefix].worth for prefix, ends in grown.items()}
        kept = sorted(grown, key=lambda prefix: -worth[prefix])[:beams]
        prefixes = {prefix: (grown[prefix][0], grown[prefix][1]) for prefix in kept if max(grown[prefix]) > -math.inf}
        places = {prefix: places[prefix] for prefix in prefixes}
    ranked = [(prefix, ctc.log_sum(*ends)) for prefix, ends in prefixes.items()]
    return sorted(ranked, key=lambda item: -(item[1] + places[item[0]].earned))


def _grown(
    frame_V: Any,
    prefixes: Prefixes,
    places: dict[tuple[int, ...], Place],
    words: Hotwords,
    likely: Sequence[int],
    blank: int,
) -> dict[tuple[int, ...], list[float]]:
    """Every prefix as it is and with each symbol in reach; `places` learns those of the new ones."""
    grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
    lowest = float(frame_V.max()) - REACH
    for prefix, (blank_end, symbol_end) in prefixes.items():
        total, last = ctc.log_sum(blank_end, symbol_end), prefix[-1] if prefix else None
        grown[prefix][0] = ctc.log_sum(grown[prefix][0], total + float(frame_V[blank]))
        if last is not None:
            grown[prefix][1] = ctc.log_sum(grown[prefix][1], symbol_end + float(frame_V[last]))
        expected = {symbol for symbol in places[prefix].node.following if frame_V[symbol] > lowest}
        for symbol in expected.union(likely):
            longer = (*prefix, symbol)
            if longer not in places:
                places[longer] = words.after(places[prefix], symbol)
            before = blank_end if symbol == last else total
            grown[longer][1] = ctc.log_sum(grown[longer][1], before + float(frame_V[symbol]))
    return grown
