"""Simulated candidate/champion pairs on clustered calls, decided by the gate's own code (`bench/gate.py`).

Both systems hear the same calls. An utterance's errors are Poisson around CER × characters × how hard the call is × how
hard the utterance is × how well the system does on the call; the three factors are gamma with mean 1. The first two are
shared, so errors are over-dispersed and correlated as those of two runs of one recipe. What two trainings of the demo's
recogniser gave on its 560 test rows: errors per utterance correlate by 0.45, their variance is 0.8 to 2.3 times
Poisson's, and the variance of a system's own factor on a caller is −0.008 [−0.049, 0.025], here 0.1². How much calls
differ is assumed (the demo's are made by rule), and so is a call of 20 utterances of 15 characters: one or two minutes
of a caller's speech.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation import findings
from evaluation.measure import Part
from evaluation.weighing import weigh_tables
from hotline.spoken_scores import cer
from hotline.task import Bar, Profile
from hotline.tasks.speech.transcription import TRANSCRIPTION

BLOCK = 50
DIALECTS = ("cmn", "cmn-sichuan", "en", "yue-hongkong")
DEMO_CALLERS = ((34, 25, 8, 8), (39, 28, 11, 3), (45, 27, 7, 5), (45, 29, 8, 2, 1))
"""Of the demo's test split, per dialect: how many callers have one row, two rows, and so on."""
DEMO_CHARACTERS = (15.2, 15.3, 46.4, 14.3)
WORSE = 0.008
TASK = replace(TRANSCRIPTION, scores={"cer": cer}, slices=("dialect",), derived_slices={}, targets={"cer": 0.08})
"""The shipped task and its bars, with the one score that its bars name."""
Harm = tuple[float, bool]
"""How much worse the candidate is, and whether in one dialect only."""


@dataclass(frozen=True)
class Design:
    """A test split: how many rows each call has, by dialect, and characters of an utterance on average."""

    name: str
    profile: Profile
    rows_per_call: tuple[tuple[int, ...], ...]
    characters: tuple[float, ...]

    def layout(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each row: the dialect, the call, the characters it has on average."""
        calls = [np.asarray(each) for each in self.rows_per_call]
        dialects = np.repeat(np.arange(len(calls)), [each.sum() for each in calls])
        clusters = np.repeat(np.arange(sum(map(len, calls))), np.concatenate(calls))
        return dialects, clusters, np.asarray(self.characters)[dialects]

    def parts(self) -> list[Part]:
        dialects, clusters, _ = self.layout()
        whole = Part(None, None, np.arange(len(dialects)), clusters)
        cut = [np.flatnonzero(dialects == number) for number in range(len(self.rows_per_call))]
        numbered = [np.unique(clusters[index], return_inverse=True)[1] for index in cut]
        return [whole, *(Part("dialect", *each) for each in zip(DIALECTS, cut, numbered, strict=True))]

    def margin(self) -> float:
        """By how much a dialect may be worse than the champion's."""
        bars: Sequence[Bar] = TASK.bars[self.profile]
        return next(b.not_worse_than_champion_by for b in bars if b.slice and b.not_worse_than_champion_by is not None)


def designs(given: argparse.Namespace) -> list[Design]:
    draw = np.random.default_rng(given.seed)
    demo = tuple(tuple(np.repeat(np.arange(1, len(each) + 1), each)) for each in DEMO_CALLERS)
    calls = tuple(tuple(1 + draw.poisson(given.utterances - 1, given.calls)) for _ in DIALECTS)
    return [
        Design("demo", "demo", demo, DEMO_CHARACTERS),
        Design("calls", "production", calls, (given.characters,) * len(DIALECTS)),
    ]


def gamma(draw: np.random.Generator, variation: float, count: int) -> np.ndarray:
    """Factors with mean 1 and that coefficient of variation."""
    shape = 1 / variation**2
    return draw.gamma(shape, 1 / shape, count)


def simulate(
    design: Design, harm: Harm, number: int, draw: np.random.Generator, given: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    """The (n, 4) edits of champion and candidate on a new set of calls; pair `number` is harmed in its own dialect."""
    dialects, clusters, characters = design.layout()
    units = np.maximum(draw.poisson(characters), 1)
    hard = gamma(draw, given.call_variation, clusters[-1] + 1)[clusters]
    hard *= gamma(draw, given.utterance_variation, len(units))
    more, one = harm
    harmed = dialects == number % len(DIALECTS) if one else np.ones(len(units), dtype=bool)
    tables = []
    for rate in (np.full(len(units), given.cer), given.cer + more * harmed):
        own = gamma(draw, given.system_variation, clusters[-1] + 1)[clusters]
        errors = draw.poisson(rate * units * hard * own)
        nothing = np.zeros(len(units))
        tables.append(np.column_stack([errors, nothing, nothing, units]))
    return tables[0], tables[1]


def decided(
    design: Design, parts: Sequence[Part], tables: tuple[np.ndarray, np.ndarray], seed: int, resamples: int
) -> list[str]:
    """What came of a pair: its outcome, whether a regression was named, and whether either says what is wrong."""
    champion, candidate = ({"cer": table} for table in tables)
    weighed = weigh_tables(TASK, design.profile, parts, candidate, champion, resamples=resamples, seed=seed)
    known = {"dialect": DIALECTS}
    found = findings.decide(TASK, design.profile, weighed.figures, weighed.differences, "challenger", known)
    outcome = findings.outcome(found)
    named = any(test.claimed for test in weighed.tests)
    refused = outcome == "failed" or (named and outcome != "passed")
    return [outcome, *["regression named"] * named, *["refused with a reason"] * refused]


def block(design: Design, harm: Harm, first: int, given: argparse.Namespace) -> Counter[str]:
    """Pairs `first` to `first` + BLOCK, counted by what came of them."""
    draw, parts = np.random.default_rng([given.seed, first]), design.parts()
    said: Counter[str] = Counter()
    for number in range(first, min(first + BLOCK, given.pairs)):
        tables = simulate(design, harm, number, draw, given)
        said.update(decided(design, parts, tables, first // BLOCK, given.resamples))
    return said


def scenarios(design: Design) -> dict[str, Harm]:
    margin = design.margin()
    return {
        "identical": (0.0, False),
        f"worse by its margin ({100 * margin:g}) in one dialect": (margin, True),
        f"{100 * WORSE:g} points worse in one dialect": (WORSE, True),
        f"{100 * WORSE:g} points worse in every dialect": (WORSE, False),
    }


def shape(design: Design, given: argparse.Namespace) -> str:
    """What the simulated errors are like: what one would compare with one's own."""
    dialects, _, _ = design.layout()
    draw = np.random.default_rng([given.seed, given.pairs])
    apart, spread = [], []
    for number in range(50):
        residuals = []
        for table in simulate(design, (0.0, False), number, draw, given):
            expected = given.cer * table[:, 3]
            residuals.append(table[:, 0] - expected)
            spread.append((residuals[-1] ** 2).sum() / expected.sum())
        apart.append(np.corrcoef(*residuals)[0, 1])
    rows, calls = np.bincount(dialects), [len(each) for each in design.rows_per_call]
    return (
        f"{design.name}: {min(calls)} to {max(calls)} calls, {rows.min()} to {rows.max()} rows per dialect; errors per "
        f"utterance correlate by {np.mean(apart):.2f} and vary {np.mean(spread):.1f} times as much as Poisson's"
    )
