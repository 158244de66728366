"""Whether what is asked and answered still looks like what a version was trained and judged on.

A window of requests is compared with a reference, signal by signal: the Jensen-Shannon divergence of two distributions
over bins (Lin 1991). How far a window of the very same distribution strays depends on the signal, its bins and the
window, so no fixed limit (a PSI of 0.2, say) means the same twice: each signal's threshold is calibrated on windows
drawn from rows that the reference shares were not counted on, for one false alarm in EVERY requests of all signals
together (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from hotline.errors import InputError
from hotline.labels import SEPARATOR
from hotline.records import Digest
from hotline.task import FromProvenance, FromTree, Task

WINDOW = 500
EVERY = 10_000_000
"""Requests for each false alarm that is put up with."""
ROUNDS = 2000
"""Windows that a threshold is calibrated on."""
LEAST = 0.001
"""Bits: less is nothing to act on, and of what never varies everything would be more than usual."""
MINIMUM_ROWS = 200
HASHED = 128
"""Bins of character pairs. A pair cannot be read back: about 2^40 pairs share them."""
BANDS = 10
OTHER = "other"
Kind = Literal["text", "category", "number"]
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Signal(BaseModel):
    """One thing that is watched: its bins, the share of each in the reference, and when a window is flagged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Kind
    bins: tuple[str, ...]
    """Names of the bins; of a number, what its values are below, and `more`."""
    edges: tuple[float, ...] = ()
    shares: tuple[float, ...]
    threshold: Annotated[float, Field(ge=0)]
    """Bits. A window that diverges more is flagged."""
    rows: int

    def spread(self, values: Sequence[Any]) -> Floats:
        """Each value's own distribution over the bins, one row of sum 1 for each value."""
        if self.kind == "text":
            return pairs(values)
        if self.kind == "number":
            places = np.searchsorted(np.asarray(self.edges), np.asarray(values, dtype=float), side="right")
        else:
            known = {name: place for place, name in enumerate(self.bins)}
            places = np.asarray([known.get(value, len(self.bins) - 1) for value in values], dtype=int)
        return np.eye(len(self.bins))[places]


class Reference(BaseModel):
    """What a version was trained and judged on, as far as drift is told by it; no text, no row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    task: str
    digest: Digest
    """The version's."""
    snapshot: Digest
    window: int = WINDOW
    every: int = EVERY
    signals: tuple[Signal, ...]


@dataclass(frozen=True)
class Finding:
    """What a window says about one signal."""

    divergence: float
    psi: float
    flagged: bool
    moved: tuple[tuple[str, float, float], ...]
    """The bins that moved most: name, share in the reference, share in the window."""


def pairs(texts: Sequence[str]) -> Floats:
    """The share of each bin among the pairs of neighbouring characters of each text: every text weighs the same."""
    joined = "\n".join(("", *texts, ""))
    codes = np.frombuffer(joined.encode("utf-32-le", "replace"), dtype=np.uint32)
    mixed = (codes[:-1] * np.uint32(2654435761) + codes[1:]) * np.uint32(2246822519)
    sizes = np.asarray([len(text) + 1 for text in texts])
    places = np.repeat(np.arange(len(texts)) * HASHED, sizes) + (mixed >> np.uint32(25))
    counts = np.bincount(places, minlength=len(texts) * HASHED).reshape(len(texts), HASHED)
    return np.asarray(counts / sizes[:, None], dtype=float)


def divergence(shares: Floats, other: Floats) -> Any:
    """Jensen-Shannon divergence in bits between distributions over the last axis: 0 alike, 1 nothing in common."""
    middle = (shares + other) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(shares > 0, shares * np.log2(shares / middle), 0.0).sum(-1)
        right = np.where(other > 0, other * np.log2(other / middle), 0.0).sum(-1)
    return np.maximum((left + right) / 2, 0.0)


def psi(expected: Floats, actual: Floats, rows: int) -> float:
    """Population stability index of two distributions; an empty bin counts as half a row."""
    floor = 0.5 / max(rows, 1)
    expected, actual = np.maximum(expected, floor), np.maximum(actual, floor)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def find(signal: Signal, shares: Floats, rows: int) -> Finding:
    """What a window of so many rows with these shares says about a signal."""
    expected = np.asarray(signal.shares)
    far = float(divergence(expected, shares))
    most: list[int] = np.argsort(-np.abs(shares - expected))[:3].tolist() if signal.kind != "text" else []
    moved = tuple((signal.bins[n], float(expected[n]), float(shares[n])) for n in most)
    return Finding(far, psi(expected, shares, rows), far > signal.threshold, moved)


def refer(task: str, digest: str, snapshot: str, asked: Mapping[str, Sequence[Any]], seed: int = 0) -> Reference:
    """The reference of a version: `asked` has the values of every signal, in any order.

    Raises InputError when a signal has too few rows to say what is usual.
    """
    alpha = WINDOW / EVERY / max(len(asked), 1)
    draw = np.random.default_rng(seed)
    signals = tuple(_signal(name, values, alpha, draw) for name, values in asked.items())
    return Reference(task=task, digest=digest, snapshot=snapshot, signals=signals)


def _signal(name: str, values: Sequence[Any], alpha: float, draw: np.random.Generator) -> Signal:
    if len(values) < MINIMUM_ROWS:
        raise InputError(
            f"too few rows to say how {name} usually looks", found=len(values), expected=f"at least {MINIMUM_ROWS}"
        )
    order = draw.permutation(len(values))
    half = len(values) // 2
    first, second = ([values[n] for n in part] for part in (order[:half], order[half:]))
    made = _binned(name, first)
    shares = made.spread(first).mean(0)
    spread = made.spread(second)
    far = [divergence(shares, spread[draw.integers(len(spread), size=WINDOW)].mean(0)) for _ in range(ROUNDS)]
    limit = max(LEAST, _quantile(np.asarray(far), 1 - alpha))
    return made.model_copy(update={"shares": tuple(shares.tolist()), "threshold": limit, "rows": len(values)})


def _quantile(found: Floats, share: float) -> float:
    """A quantile far beyond the found values: of Pearson's type III with their mean, deviation and skew.

    Wilson & Hilferty 1931. A divergence is nearly a weighted sum of squares, which this follows closely.
    """
    mean, deviation = float(found.mean()), float(found.std(ddof=1))
    skew = float((((found - mean) / max(deviation, 1e-12)) ** 3).mean())
    away, skew = NormalDist().inv_cdf(share), max(skew, 1e-3)
    return mean + deviation * 2 / skew * ((1 + skew * away / 6 - skew**2 / 36) ** 3 - 1)


def _binned(name: str, values: Sequence[Any]) -> Signal:
    """The signal's bins: hashes of a text, categories as they occur, tenths of a number."""
    if name == "text":
        return Signal(name=name, kind="text", bins=tuple(map(str, range(HASHED))), shares=(), threshold=0, rows=0)
    if isinstance(values[0], str):
        bins = (*sorted(set(values)), OTHER)
        return Signal(name=name, kind="category", bins=bins, shares=(), threshold=0, rows=0)
    cuts = np.unique(np.quantile(np.asarray(values, dtype=float), np.arange(1, BANDS) / BANDS))
    bins = (*(f"< {cut:.3g}" for cut in cuts), "more")
    return Signal(name=name, kind="number", bins=bins, edges=tuple(cuts.tolist()), shares=(), threshold=0, rows=0)


def asked_of(task: Task, question: Any) -> dict[str, Any]:
    """What is watched of an input: its text, and how long it is, in characters or seconds of sound."""
    if task.audio_field:
        return {"length": float(getattr(question, task.audio_field).seconds)}
    text = "\n".join(value for value in question.model_dump().values() if isinstance(value, str))
    return {"text": text, "length": float(len(text))}


def dialect_field(task: Task) -> str | None:
    """The field of the task's answers that says which dialect was heard; None where none does."""
    for name, field in task.target.model_fields.items():
        if any(isinstance(each, FromProvenance) and each.column == "dialect" for each in field.metadata):
            return name
    return None


def said_of(task: Task, answer: Mapping[str, Any], confidence: float) -> dict[str, Any]:
    """What is watched of an answer: its dialect, its label's uppermost level, how sure it is; of sound its words."""
    found: dict[str, Any] = {"confidence": float(confidence)}
    if spoken := dialect_field(task):
        found["dialect"] = str(answer[spoken])
    for name, field in task.target.model_fields.items():
        if any(isinstance(each, FromTree) for each in field.metadata):
            found["answer"] = str(answer[name]).partition(SEPARATOR)[0]
    if task.audio_field and "text" in answer:
        found["text"] = str(answer["text"])
    return found
