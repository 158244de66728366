"""The pure decision: figures against bars. What was not measured did not pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from evaluation.shrinkage import shared
from evaluation.statistics import non_inferior
from hotline.records import Figure, Finding, Outcome
from hotline.task import Bar, Profile, Task

Standing = Literal["first model", "champion", "challenger"]
"""No model of the task was ever promoted here; the candidate is the champion; another version is the champion."""


def decide(
    task: Task,
    profile: Profile,
    figures: Sequence[Figure],
    paired: Sequence[Figure],
    standing: Standing,
    known: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Finding, ...]:
    """A finding per bar of the profile, and per value for bars over a slice.

    `figures` are the candidate's, `paired` the differences candidate − champion. `known` names every value that a
    slice has in the corpus: one without a test row is insufficient evidence, not an exemption. No bars, no findings.
    """
    found: list[Finding] = []
    for bar in task.bars.get(profile, ()):
        found += _over_slice(task, bar, figures, paired, standing, known or {})
    return tuple(found)


def outcome(findings: Sequence[Finding]) -> Outcome:
    """Failed if any finding failed, else insufficient if any is; nothing found is nothing passed."""
    outcomes = {finding.outcome for finding in findings}
    if "failed" in outcomes:
        return "failed"
    return "passed" if outcomes == {"passed"} else "insufficient evidence"


def _over_slice(
    task: Task,
    bar: Bar,
    figures: Sequence[Figure],
    paired: Sequence[Figure],
    standing: Standing,
    known: Mapping[str, Sequence[str]],
) -> Iterator[Finding]:
    own = _by_value(bar, figures)
    against = _by_value(bar, paired)
    values: list[str | None] = [None]
    if bar.slice:
        measured = {value for value in own if value is not None}
        values = [*sorted(measured | set(known.get(bar.slice, ())))]
    if not values:
        yield Finding(
            bar=bar.words(), outcome="insufficient evidence", reason=f"no test row says its {bar.slice}", figure=None
        )
    found = [_one(task, bar, value, own.get(value), against.get(value), standing) for value in values]
    yield from _beside(found) if bar.slice else found


def _beside(findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings of one slice; where evidence lacks, with what the figure becomes if the other values count in."""
    drawn = shared([finding.figure for finding in findings if finding.figure])
    for finding in findings:
        value = finding.figure.value if finding.figure else None
        if finding.outcome == "insufficient evidence" and value in drawn:
            said = f"; {drawn[value]:.3f} with strength shared among {len(drawn)} values, which decides nothing"
            yield finding.model_copy(update={"reason": finding.reason + said})
        else:
            yield finding


def _by_value(bar: Bar, figures: Sequence[Figure]) -> dict[str | None, Figure]:
    return {figure.value: figure for figure in figures if figure.score == bar.score and figure.slice == bar.slice}


def _one(
    task: Task, bar: Bar, value: str | None, own: Figure | None, against: Figure | None, standing: Standing
) -> Finding:
    if own is None:
        reason = f"no test row with {bar.slice} {value}" if bar.slice else f"{bar.score} was not measured"
        absent = Figure(
            score=bar.score, slice=bar.slice, value=value, rows=0, clusters=0, estimate=None, low=None, high=None
        )
        return Finding(bar=bar.words(), outcome="insufficient evidence", reason=reason, figure=absent)
    relative = bar.not_worse_than_champion_by is not None
    if relative and standing != "challenger" and own.estimate is not None:
        reason = {
            "first model": "first model of this task at this site: there is no champion to compare with",
            "champion": "this version is the champion",
        }[standing]
        return Finding(bar=bar.words(), outcome="passed", reason=reason, figure=own)
    figure = against if relative and standing == "challenger" else own
    if figure is None:
        return Finding(bar=bar.words(), outcome="failed", reason="the champion's answers were not measured", figure=own)
    decided, reason = _judged(task, bar, figure)
    return Finding(bar=bar.words(), outcome=decided, reason=reason, figure=figure)


def _judged(task: Task, bar: Bar, figure: Figure) -> tuple[Outcome, str]:
    if figure.estimate is None:
        return "failed", "the score is not a number"
    if figure.rows < bar.minimum_rows:
        return "insufficient evidence", f"{_said(figure)}; at least {bar.minimum_rows} rows are needed"
    if figure.low is None or figure.high is None:
        return "insufficient evidence", f"{_said(figure)}; too few independent callers for an interval"
    if bar.not_worse_than_champion_by is not None:
        higher = task.scores[bar.score].higher_is_better
        decided = non_inferior(figure.low, figure.high, bar.not_worse_than_champion_by, higher)
        return decided, f"candidate − champion {_said(figure)}"
    return _against_limit(bar, figure.low, figure.high), _said(figure)


def _against_limit(bar: Bar, low: float, high: float) -> Outcome:
    """Passed when the whole interval is on the good side of the limit, failed when it is on the bad side."""
    if bar.at_least is not None:
        return "passed" if low >= bar.at_least else "failed" if high < bar.at_least else "insufficient evidence"
    if bar.at_most is not None:
        return "passed" if high <= bar.at_most else "failed" if low > bar.at_most else "insufficient evidence"
    raise ValueError(f"{bar.words()} has no limit")


def _said(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    estimate = "undefined" if figure.estimate is None else f"{figure.estimate:.3f}"
    return f"{estimate}{interval} on {figure.rows} rows of {figure.clusters} independent callers"
