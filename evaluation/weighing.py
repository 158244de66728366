"""Candidate and champion on the same rows: figures, differences and tests, all of one set of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation.measure import Part, parts, tabulate, weigh
from evaluation.regressions import claims
from evaluation.resampling import RESAMPLES
from hotline.records import Figure, Test
from hotline.task import Answer, Profile, Task

if TYPE_CHECKING:
    from data.store import Rows


@dataclass(frozen=True)
class Weighed:
    """What a verdict decides on: the candidate's figures, its differences to the champion, and what was tested."""

    figures: tuple[Figure, ...]
    differences: tuple[Figure, ...] = ()
    """Candidate − champion, of the scores that have a non-inferiority bar."""
    tests: tuple[Test, ...] = ()


def weigh_answers(
    task: Task, profile: Profile, rows: Rows, candidate: Sequence[Answer], champion: Sequence[Answer] | None
) -> Weighed:
    """The answers to the same rows, weighed; without a champion, the candidate's alone.

    Raises ValueError when answers and rows differ in number, or there are none.
    """
    own = tabulate(task.scores, rows.targets, candidate, rows)
    relative = {name: score for name, score in task.scores.items() if name in _relative(task, profile)}
    other = {} if champion is None else tabulate(relative, rows.targets, champion, rows)
    return weigh_tables(task, profile, list(parts(task, rows)), own, other)


def weigh_tables(
    task: Task,
    profile: Profile,
    over: Sequence[Part],
    own: Mapping[str, Any],
    other: Mapping[str, Any],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Weighed:
    """The same of (n, k) statistics by score name; `other`, the champion's, is empty where there is none."""
    figures, differences = weigh(task.scores, own, other, over, resamples=resamples, seed=seed)
    tests = claims(task, profile, own, other, over, resamples=resamples, seed=seed) if other else ()
    return Weighed(figures, differences, tests)


def _relative(task: Task, profile: Profile) -> set[str]:
    return {bar.score for bar in task.bars.get(profile, ()) if bar.not_worse_than_champion_by is not None}
