"""Before anything is judged: what each bar can tell apart on the test split there is, and how many calls it lacks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.store import open_snapshot
from evaluation.gate import refuse_without_bars
from evaluation.measure import Part, parts, slice_values
from evaluation.planning import TOO_CLOSE, calls_for, limit_of
from evaluation.shrinkage import standard_error
from evaluation.statistics import minimum_detectable_effect
from hotline import policy
from hotline.ledger import Ledger
from hotline.records import Figure, Verdict
from hotline.settings import Settings
from hotline.task import Bar, Profile, Task

if TYPE_CHECKING:
    from data.store import Rows

CORRELATION = 0.5
"""Of two systems' errors on a call, where it was not measured; two trainings of the demo's recogniser had 0.45."""


@dataclass(frozen=True)
class Need:
    """A bar over one value of its slice: what the test split can tell, and how many independent calls it lacks."""

    bar: str
    slice: str | None
    value: str | None
    rows: int
    calls: int
    standard_error: float | None
    detectable: float | None
    """The smallest true distance from the bar that is seen 80 % of the time."""
    calls_missing: int | None
    """None when it is not known how far off the bar is, or no practical number of calls is enough."""
    source: str
    """Where the standard error is from."""


@dataclass(frozen=True)
class Plan:
    task: str
    profile: Profile
    snapshot: str
    needs: tuple[Need, ...]


@dataclass(frozen=True)
class _Spread:
    """The standard error that one call would give, how far off the bar is if that is known, and who says so."""

    error_of_one: float
    distance: float | None
    source: str


def plan(settings: Settings, task: Task) -> Plan:
    """For each bar of the site's profile, and each value of its slice in the corpus, on the newest test split.

    Raises RefusedError for a task without bars, UnknownName without a snapshot, PolicyError, IntegrityError.
    """
    site = policy.load(settings.workspace)
    refuse_without_bars(task, site)
    snapshot = open_snapshot(settings, task)
    held = {(part.slice, part.value): part for part in parts(task, snapshot.rows("test"))}
    verdicts = [
        entry.record
        for entry in reversed(Ledger.of(settings).read().entries)
        if isinstance(entry.record, Verdict) and entry.record.task == task.name
    ]
    everything, bars = snapshot.rows(), task.bars[site.profile]
    found = [need for bar in bars for need in _needs(task, bar, held, verdicts, everything)]
    return Plan(task.name, site.profile, snapshot.digest, tuple(found))


def _needs(
    task: Task,
    bar: Bar,
    held: Mapping[tuple[str | None, str | None], Part],
    verdicts: Sequence[Verdict],
    everything: Rows,
) -> Iterator[Need]:
    values = sorted(set(slice_values(task, bar.slice, everything))) if bar.slice else [None]
    for value in values:
        part = held.get((bar.slice, value))
        rows = len(part.index) if part else 0
        calls = int(part.clusters.max()) + 1 if part and rows else 0
        yield _need(task, bar, value, rows, calls, _measured(task, bar, value, verdicts) or _assumed(task, bar))


def _need(task: Task, bar: Bar, value: str | None, rows: int, calls: int, spread: _Spread) -> Need:
    error = spread.error_of_one / math.sqrt(calls) if calls else None
    start = (bar.minimum_rows - rows) / (rows / calls if calls else 1.0)
    missing: int | None = None
    if spread.distance is not None:
        needed = calls_for(spread.distance, spread.error_of_one)
        if needed <= TOO_CLOSE * max(calls, bar.minimum_rows):
            missing = max(0, math.ceil(needed - calls), math.ceil(start))
    detectable = None if error is None else minimum_detectable_effect(error)
    return Need(bar.words(), bar.slice, value, rows, calls, error, detectable, missing, spread.source)


def _measured(task: Task, bar: Bar, value: str | None, verdicts: Sequence[Verdict]) -> _Spread | None:
    """From the newest verdict that says it: of the difference, else of the figure; of that value, else of all rows."""
    relative = bar.not_worse_than_champion_by is not None
    for differs in (True, False) if relative else (False,):
        for where in dict.fromkeys(((bar.slice, value), (None, None))):
            for verdict in verdicts:
                figure = _figure(verdict, bar, where, differs)
                error = standard_error(figure) if figure else None
                if figure and figure.estimate is not None and error:
                    source = f"verdict on {verdict.model.line}@{verdict.model.version}"
                    source += ", all rows" if where != (bar.slice, value) else ""
                    return _spread(task, bar, figure.estimate, error * math.sqrt(figure.clusters), differs, source)
    return None


def _spread(task: Task, bar: Bar, estimate: float, one: float, differs: bool, source: str) -> _Spread:
    """A candidate as good as the champion is planned for; for a limit, one that is as good as the last one measured."""
    if bar.not_worse_than_champion_by is None:
        return _Spread(one, abs(estimate - limit_of(task, bar)), source)
    if differs:
        return _Spread(one, bar.not_worse_than_champion_by, source)
    assumed = one * math.sqrt(2 * (1 - CORRELATION))
    source += f"; assumed: two systems' errors correlate by {CORRELATION:g}"
    return _Spread(assumed, bar.not_worse_than_champion_by, source)


def _figure(verdict: Verdict, bar: Bar, where: tuple[str | None, str | None], differs: bool) -> Figure | None:
    """The verdict's figure of that score there; with `differs`, its difference to the champion of then."""
    if differs and verdict.previous_champion in (None, verdict.model.digest):
        return None
    against = [finding.figure for finding in verdict.findings if "champion" in finding.bar and finding.figure]
    among = against if differs else verdict.figures
    return next((f for f in among if (f.score, f.slice, f.value) == (bar.score, *where)), None)


def _assumed(task: Task, bar: Bar) -> _Spread:
    """Without any verdict: right or wrong per call for shares, calls as varied as their mean for error rates."""
    score, target = task.scores[bar.score], task.targets.get(bar.score)
    limit = None if bar.not_worse_than_champion_by is not None else limit_of(task, bar)
    level = next((figure for figure in (target, limit) if figure is not None), 0.5)
    one = level if score.error_rate else math.sqrt(level * (1 - level))
    said = "a call's rate varies as much as its mean" if score.error_rate else "a call is right or wrong"
    source = f"assumed: {said}, at {level:g}"
    if limit is None:
        return _spread(task, bar, level, one, False, source)
    return _Spread(one, None if target is None or target == limit else abs(target - limit), source)
