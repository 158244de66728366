"""How many calls a bar needs: before judging (`hotline bars plan`), and after a verdict that lacked evidence.

A standard error falls with the square root of the calls, so four times the calls halve what can be told apart. "Calls"
are independent ones: those of one caller count once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scipy.stats import norm

from evaluation.shrinkage import standard_error
from evaluation.statistics import Z
from hotline.records import Figure, Finding, Verdict, Wanted
from hotline.task import Bar, Profile, Task

POWER = 0.8
WANTED_FILE = "wanted.jsonl"
TOO_CLOSE = 100
"""More than so many times the calls that there are is no plan: the figure lies at the bar."""


def calls_for(distance: float, error_of_one: float, power: float = POWER) -> float:
    """Independent calls for an interval that keeps clear of a bar at that distance, with that power.

    `error_of_one` is the standard error that a single call would give. Infinite at distance 0.
    """
    reach = (Z + float(norm.ppf(power))) * error_of_one
    return (reach / distance) ** 2 if distance else math.inf


def limit_of(task: Task, bar: Bar) -> float:
    """The value that the bar's interval must keep clear of: a difference for non-inferiority."""
    if bar.not_worse_than_champion_by is not None:
        sign = -1 if task.scores[bar.score].higher_is_better else 1
        return sign * bar.not_worse_than_champion_by
    limit = bar.at_least if bar.at_least is not None else bar.at_most
    if limit is None:
        raise ValueError(f"{bar.words()} has no limit")
    return limit


def settles(task: Task, profile: Profile, findings: Sequence[Finding], figures: Sequence[Figure]) -> tuple[Wanted, ...]:
    """What would settle each finding that lacks evidence, in the findings' order.

    The true figure is taken to be the one measured; for a slice with fewer rows than the bar's minimum, that of all
    rows among `figures`, with the spread that all rows have.
    """
    bars = {bar.words(): bar for bar in task.bars.get(profile, ())}
    whole = {figure.score: figure for figure in figures if figure.slice is None}
    return tuple(
        _wanted(task, bars[finding.bar], finding.figure, whole.get(bars[finding.bar].score))
        for finding in findings
        if finding.outcome == "insufficient evidence" and finding.bar in bars
    )


def _wanted(task: Task, bar: Bar, figure: Figure | None, whole: Figure | None) -> Wanted:
    said = {"bar": bar.words(), "slice": bar.slice, "value": figure.value if figure else None}
    if figure is None:
        return Wanted(**said, calls_missing=bar.minimum_rows, why=f"no test row says its {bar.slice}")
    if figure.rows < bar.minimum_rows:
        needed, why = _for_a_start(task, bar, figure, whole)
        return Wanted(**said, calls_missing=needed, why=why)
    error = standard_error(figure)
    if figure.estimate is None or error is None:
        return Wanted(**said, calls_missing=None, why="its interval has no width to plan with")
    distance = abs(figure.estimate - limit_of(task, bar))
    needed_calls = calls_for(distance, error * math.sqrt(figure.clusters))
    if needed_calls > TOO_CLOSE * figure.clusters:
        return Wanted(
            **said, calls_missing=None, why=f"it lies {distance:.2g} from the bar: too close to be told apart"
        )
    missing = max(1, math.ceil(needed_calls - figure.clusters))
    why = (
        f"{figure.clusters} calls tell {distance:.2g} from the bar apart too seldom; {POWER:.0%} of the time with these"
    )
    return Wanted(**said, calls_missing=missing, why=why)


def _for_a_start(task: Task, bar: Bar, figure: Figure, whole: Figure | None) -> tuple[int, str]:
    """Calls until the minimum of rows is reached, or more where the whole's spread says that more are needed."""
    each = figure.rows / figure.clusters if figure.clusters else 1.0
    needed = math.ceil((bar.minimum_rows - figure.rows) / each)
    why = f"{figure.rows} rows, {bar.minimum_rows} are needed"
    error = standard_error(whole) if whole else None
    if whole is None or whole.estimate is None or error is None or bar.not_worse_than_champion_by is not None:
        return needed, why
    alike = calls_for(abs(whole.estimate - limit_of(task, bar)), error * math.sqrt(whole.clusters)) - figure.clusters
    if needed < alike <= TOO_CLOSE * whole.clusters:
        return math.ceil(alike), f"{why}; and so many if it is as good and as varied as all rows"
    return needed, why


def write_wanted(folder: Path, verdict: Verdict) -> None:
    """`wanted.jsonl` for the annotation queue, one object per bar and value that lacks calls; empty where none does."""
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in _lines(verdict.task, verdict.settles)]
    (folder / WANTED_FILE).write_text("".join(lines), encoding="utf-8")


def _lines(task: str, wanted: Sequence[Wanted]) -> Iterator[Mapping[str, object]]:
    for each in wanted:
        if each.calls_missing:
            where = {"slice": each.slice, "value": each.value}
            yield {"task": task, **where, "calls": each.calls_missing, "reason": f"{each.bar}: {each.why}"}
