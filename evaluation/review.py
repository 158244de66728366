"""Which of two versions do people prefer? A blind sheet that came back, opened with its key."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation import blind, statistics
from evaluation.blind import Key
from evaluation.sheets import SIDES
from hotline.errors import InputError
from hotline.records import Figure
from hotline.scores import Score, mean

TIE = "tie"
WORDS = (
    dict.fromkeys(("left", "l", "左", "左边", "1"), "left")
    | dict.fromkeys(("right", "r", "右", "右边", "2"), "right")
    | dict.fromkeys(("tie", "t", "same", "平", "一样", "=", "0"), TIE)
)
_SHOWN = 10


@dataclass(frozen=True)
class Preference:
    """How often b was preferred to a; a tie is half a win for either."""

    task: str
    a: str
    b: str
    items: int
    b_wins: int
    a_wins: int
    ties: int
    win_rate: Figure
    """Of b, over the items that were asked about, with the clustered 95 % interval."""
    left_chosen: float | None
    """Of the items with a choice. Sides were shuffled: far from a half, the reader preferred a side."""
    differing: int
    rows: int

    @property
    def words(self) -> str:
        low, high = self.win_rate.low, self.win_rate.high
        if low is None or high is None or low <= 0.5 <= high:
            return "no preference is shown"
        return f"{self.b if low > 0.5 else self.a} is preferred"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"win_rate": self.win_rate.model_dump(), "words": self.words}


def read(sheet: Path, key_file: Path) -> Preference:
    """What the sheet says. Raises InputError naming rows that are missing, unknown, answered twice or unreadable,
    IntegrityError for an edited key."""
    key = blind.read_key(key_file, "review")
    chosen = _answers(sheet, key)
    counts, credit, clusters = Counter[str](), [], []
    for number, item in key.items.items():
        side = chosen[number]
        winner = TIE if side == TIE else item.options[SIDES.index(side)].who[0]
        counts[winner] += 1
        credit.append({"b": 1.0, TIE: 0.5, "a": 0.0}[winner])
        clusters.append(item.cluster)
    sides = Counter(chosen.values())
    decided = sides["left"] + sides["right"]
    return Preference(
        task=key.task,
        a=key.names["a"],
        b=key.names["b"],
        items=len(key.items),
        b_wins=counts["b"],
        a_wins=counts["a"],
        ties=counts[TIE],
        win_rate=_rate(credit, clusters),
        left_chosen=sides["left"] / decided if decided else None,
        differing=key.differing,
        rows=key.rows,
    )


def _rate(credit: list[float], clusters: list[int]) -> Figure:
    score = Score("win_rate", lambda targets, answers: None, mean, bounded=True)
    numbered = np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)
    table = np.column_stack([np.asarray(credit), np.ones(len(credit))])
    found = statistics.interval(score, table, numbered)
    ends = [None if np.isnan(end) else float(end) for end in (found.estimate, found.low, found.high)]
    return Figure(
        score=score.name, rows=len(credit), clusters=found.clusters, estimate=ends[0], low=ends[1], high=ends[2]
    )


def _answers(sheet: Path, key: Key) -> dict[str, str]:
    """Left, right or tie of every item."""
    given: dict[str, list[str]] = {}
    for _, item, cells in blind.lines(sheet, ("preferred",)):
        given.setdefault(item, []).append(cells["preferred"].strip().lower())
    problems = {
        "unknown": [item for item in given if item not in key.items],
        "missing": [item for item in key.items if item not in given],
        "not answered": [item for item, said in given.items() if item in key.items and not any(said)],
        "answered twice": [item for item, said in given.items() if item in key.items and len(said) > 1],
        "neither left, right nor tie": [
            item for item, said in given.items() if item in key.items and len(said) == 1 and said[0] not in ("", *WORDS)
        ],
    }
    found = [f"{name}: {', '.join(items[:_SHOWN])}" for name, items in problems.items() if items]
    if found:
        raise InputError(
            "the sheet does not answer every item once",
            where=str(sheet),
            found="; ".join(found),
            expected=f"left, right or tie for each of {len(key.items)} items",
            next="correct the sheet and import it again",
        )
    return {item: WORDS[said[0]] for item, said in given.items()}
