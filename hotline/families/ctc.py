"""Connectionist temporal classification: greedy and prefix beam decoding with times and probabilities.

Legend: L output frames, V symbols with the blank as number 0.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BLANK = 0
LogProbabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Piece:
    """One symbol of the output, the frames [start, end) in which it was heard, and how surely."""

    symbol: int
    start: int
    end: int
    probability: float


def greedy(scores_LV: LogProbabilities, blank: int = BLANK) -> list[Piece]:
    """The best symbol of every frame, repeats merged, blanks dropped."""
    best_L = scores_LV.argmax(axis=1)
    edges = np.flatnonzero(np.diff(best_L)) + 1
    runs = zip([0, *edges.tolist()], [*edges.tolist(), len(best_L)], strict=True)
    return [
        Piece(symbol, start, end, float(np.exp(scores_LV[start:end, symbol].max())))
        for start, end in runs
        if end > start and (symbol := int(best_L[start])) != blank
    ]


def beam(scores_LV: LogProbabilities, beams: int, blank: int = BLANK) -> list[tuple[tuple[int, ...], float]]:
    """Prefix beam search (Hannun et al. 2014): the `beams` best symbol sequences with their log-probabilities.

    Only symbols within reach of a frame's best are extended, which changes nothing at usable beam widths.
    """
    prefixes: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}  # ends in blank, in a symbol
    for frame_V in scores_LV:
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
        symbols = likely(frame_V, beams, blank)
        for prefix, (blank_end, symbol_end) in prefixes.items():
            total = log_sum(blank_end, symbol_end)
            grown[prefix][0] = log_sum(grown[prefix][0], total + float(frame_V[blank]))
            last = prefix[-1] if prefix else None
            if last is not None:
                grown[prefix][1] = log_sum(grown[prefix][1], symbol_end + float(frame_V[last]))
            for symbol in symbols:
                longer = (*prefix, symbol)
                before = blank_end if symbol == last else total
                grown[longer][1] = log_sum(grown[longer][1], before + float(frame_V[symbol]))
        kept = sorted(grown.items(), key=lambda item: -log_sum(*item[1]))[:beams]
        prefixes = {prefix: (ends[0], ends[1]) for prefix, ends in kept if max(ends) > -math.inf}
    ranked = [(prefix, log_sum(*ends)) for prefix, ends in prefixes.items()]
    return sorted(ranked, key=lambda item: -item[1])


def likely(frame_V: npt.NDArray[np.float32], beams: int, blank: int) -> list[int]:
    """The symbols by which a beam extends its prefixes at a frame."""
    count = min(len(frame_V), beams + 1)
    best: Any = np.argpartition(-frame_V, count - 1)[:count]
    return [int(symbol) for symbol in best if symbol != blank]


def log_sum(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def align(scores_LV: LogProbabilities, symbols: Sequence[int], blank: int = BLANK) -> list[Piece]:
    """Where in time the symbols lie: the best path that reads exactly as they do (Viterbi over blanks and symbols).

    Symbols that cannot fit into the frames get none; the list is empty then.
    """
    states = [blank]
    for symbol in symbols:
        states += [symbol, blank]
    frames, width = len(scores_LV), len(states)
    if not symbols or frames < len(symbols):
        return []
    emitted = scores_LV[:, states]
    skips = np.array([n > 1 and states[n] != blank and states[n] != states[n - 2] for n in range(width)])
    reached = np.full(width, -np.inf)
    reached[:2] = emitted[0, :2]
    came = np.zeros((frames, width), dtype=np.int8)
    for frame in range(1, frames):
        one = np.concatenate([[-np.inf], reached[:-1]])
        two = np.where(skips, np.concatenate([[-np.inf, -np.inf], reached[:-2]]), -np.inf)
        ways = np.stack([reached, one, two])
        came[frame] = ways.argmax(axis=0)
        reached = ways.max(axis=0) + emitted[frame]
    state = width - 1 if reached[-1] >= reached[-2] else width - 2
    if not np.isfinite(reached[state]):
        return []
    path = np.zeros(frames, dtype=int)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(came[frame, state])
    pieces = []
    for number, symbol in enumerate(symbols):
        held = np.flatnonzero(path == 2 * number + 1)
        probability = float(np.exp(scores_LV[held, symbol].max()))
        pieces.append(Piece(int(symbol), int(held[0]), int(held[-1]) + 1, probability))
    return pieces
