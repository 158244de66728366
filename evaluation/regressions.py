"""Which slices regressed: a claim per non-inferiority bar and value of its slice, corrected over all of them (Holm)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.measure import Part
from evaluation.resampling import RESAMPLES, swap
from evaluation.significance import Alternative, as_extreme, holm
from hotline.records import Test
from hotline.task import Profile, Task

ALPHA = 0.05
NAME = "approximate randomisation"


def claims(
    task: Task,
    profile: Profile,
    candidate: Mapping[str, Any],
    champion: Mapping[str, Any],
    over: Sequence[Part],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Test, ...]:
    """One test per non-inferiority bar of the profile, and per value of its slice that has the bar's minimum of rows.

    `candidate` and `champion` are (n, k) statistics by score name. p is one-sided, of swapped clusters: of two equally
    good systems a regression is claimed anywhere at most 5 % of the time.
    """
    found = list(_tests(task, profile, candidate, champion, over, resamples, seed))
    corrected = holm([test.p for test in found])
    return tuple(
        test.model_copy(update={"p_holm": p, "claimed": p <= ALPHA}) for test, p in zip(found, corrected, strict=True)
    )


def _tests(
    task: Task,
    profile: Profile,
    candidate: Mapping[str, Any],
    champion: Mapping[str, Any],
    over: Sequence[Part],
    resamples: int,
    seed: int,
) -> Iterator[Test]:
    """Not corrected yet."""
    relative = {
        (bar.score, bar.slice): bar.minimum_rows
        for bar in task.bars.get(profile, ())
        if bar.not_worse_than_champion_by is not None
    }
    for part in over:
        names = [name for name, slice in relative if slice == part.slice and len(part.index) >= relative[name, slice]]
        if not names:
            continue
        pairs = [(task.scores[name], part.cut(champion[name]), part.cut(candidate[name])) for name in names]
        for name, (difference, drawn) in zip(names, swap(pairs, part.clusters, resamples, seed), strict=True):
            worse: Alternative = "less" if task.scores[name].higher_is_better else "greater"
            p = as_extreme(difference, drawn, worse)
            if math.isfinite(p):
                where = {"slice": part.slice, "value": part.value}
                yield Test(name=NAME, score=name, **where, difference=difference, p=p, p_holm=p, claimed=False)
