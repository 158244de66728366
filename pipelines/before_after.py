"""Before and after: what one version and the one before it did at the endpoints, and what the gate measured of both.

Figures of serving come from the minutes that the endpoints kept, accuracy from the verdicts in the ledger. What was not
measured is said not to be: no figure is estimated from another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hotline import tasks
from hotline.errors import UnknownName
from hotline.records import Verdict

if TYPE_CHECKING:
    from hotline.chain import Chain
    from hotline.settings import Settings
    from serving.watch.minutes import Minute

Better = Literal["more", "less"]


@dataclass(frozen=True)
class Served:
    """What a version did, added up over all its minutes."""

    minutes: Sequence[Minute]

    def sum(self, name: str) -> float:
        return float(sum(getattr(each, name) for each in self.minutes))

    @property
    def busiest(self) -> float | None:
        """Answers a second in its busiest whole minute; None where there was none."""
        whole = [each.answers / each.seconds for each in self.minutes if each.seconds >= WHOLE_SECONDS]
        return max(whole, default=None)

    def share(self, part: str, of: str = "requests") -> float | None:
        return self.sum(part) / self.sum(of) if self.sum(of) else None

    @property
    def timeouts(self) -> float | None:
        asked = self.sum("answers") + self.sum("timeouts")
        return self.sum("timeouts") / asked if asked else None

    def quantile(self, share: float) -> float | None:
        """Seconds within which that share was answered, straight between the edges of the histogram's buckets.

        None without a request, and where it lies above the last edge.
        """
        from serving.watch.meters import SECONDS

        counts = [sum(column) for column in zip(*(each.buckets for each in self.minutes if each.buckets), strict=False)]
        wanted, below, low = share * sum(counts), 0.0, 0.0
        for count, high in zip(counts, SECONDS, strict=False):
            if count and below + count >= wanted:
                return float(low + (high - low) * (wanted - below) / count)
            below, low = below + count, high
        return None


WHOLE_SECONDS = 30.0
"""A minute that was cut shorter, by a start or a stop, says little about throughput."""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    name: str
    chinese: str
    unit: str
    better: Better
    before: float | None
    after: float | None
    source: str

    @property
    def change(self) -> float | None:
        """How much more, as a share of before; None where one is missing, or nothing was there before."""
        if self.before is None or self.after is None or not self.before:
            return None
        return self.after / self.before - 1

    @property
    def judged(self) -> str:
        if self.before is None or self.after is None:
            return "not measured"
        if self.before == self.after:
            return "same"
        return "better" if (self.after > self.before) == (self.better == "more") else "worse"

    def as_dict(self) -> dict[str, Any]:
        names = ("name", "unit", "before", "after", "change", "judged", "source")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Report:
    """Two versions at one task."""

    task: str
    before: str
    after: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        listed = [line.as_dict() for line in self.lines]
        return {"task": self.task, "before": self.before, "after": self.after, "lines": listed, "notes": self.notes}


def report(
    settings: Settings, after: str, before: str, task: str | None = None, price: float | None = None
) -> list[Report]:
    """One report for every task that a verdict or a minute knows both versions by; `price` is of an hour of computing.

    Raises UnknownName for what is not LINE@VERSION, and when no task knows both.
    """
    from hotline.ledger import Ledger

    for name in (after, before):
        if not all(name.partition("@")):
            raise UnknownName("this names no version", found=name, expected="LINE@VERSION", next="hotline versions")
    chain = Ledger.of(settings).read()
    shared = _tasks(settings, chain, after) & _tasks(settings, chain, before) & {task or name for name in tasks.TASKS}
    if not shared:
        raise UnknownName(
            "no task was answered or judged by both versions", found=f"{before}, {after}", next="hotline versions"
        )
    return [_report(settings, chain, name, before, after, price) for name in sorted(shared)]


def _tasks(settings: Settings, chain: Chain, version: str) -> set[str]:
    from serving.watch import minutes

    judged = {entry.record.task for entry in chain.entries if _is_of(entry.record, version)}
    return judged | {each.task for each in minutes.read(settings.state, version)}


def _is_of(record: Any, version: str) -> bool:
    return isinstance(record, Verdict) and f"{record.model.line}@{record.model.version}" == version


def _report(settings: Settings, chain: Chain, task: str, before: str, after: str, price: float | None) -> Report:
    from serving.watch import minutes

    served = [
        Served([each for each in minutes.read(settings.state, version) if each.task == task])
        for version in (before, after)
    ]
    verdicts = [_verdict(chain, task, version) for version in (before, after)]
    lines = (*_served(served[0], served[1], price), *_scored(task, verdicts[0], verdicts[1]))
    return Report(task, before, after, lines, tuple(_notes(served, verdicts, price)))


def _verdict(chain: Chain, task: str, version: str) -> Verdict | None:
    """The newest on that version for the task."""
    found = [entry.record for entry in reversed(chain.entries) if _is_of(entry.record, version)]
    return next((record for record in found if isinstance(record, Verdict) and record.task == task), None)


def _served(before: Served, after: Served, price: float | None) -> list[Line]:
    def line(name: str, chinese: str, unit: str, better: Better, of: Callable[[Served], float | None]) -> Line:
        return Line(name, chinese, unit, better, of(before), of(after), "minutes of serving")

    def computed(served: Served) -> float | None:
        return served.share("compute_seconds", "answers") if served.sum("compute_seconds") else None

    def capacity(served: Served) -> float | None:
        seconds = computed(served)
        return 1 / seconds if seconds else None

    def cost(served: Served) -> float | None:
        seconds = computed(served)
        return None if seconds is None else seconds * 1000 * (price / 3600 if price is not None else 1)

    unit = "per 1,000 answers" if price is not None else "s computed per 1,000 answers"
    return [
        line("throughput, busiest minute", "吞吐量(最忙一分钟)", "answers/s", "more", lambda one: one.busiest),
        line("throughput, while computing", "吞吐量(计算时)", "answers/s", "more", capacity),
        line("response time, median", "响应时间(中位数)", "s", "less", lambda one: one.quantile(0.5)),
        line("response time, p95", "响应时间(p95)", "s", "less", lambda one: one.quantile(0.95)),
        line("time-outs", "超时率", "of inputs", "less", lambda one: one.timeouts),
        line("failed requests", "失败率", "of requests", "less", lambda one: one.share("failed")),
        line("sent away (429)", "限流率", "of requests", "less", lambda one: one.share("sent_away")),
        line("cost", "成本", unit, "less", cost),
    ]


def _scored(task: str, before: Verdict | None, after: Verdict | None) -> list[Line]:
    """Every score over all rows, as the verdicts have it."""

    def figures(verdict: Verdict | None) -> dict[str, float]:
        found = verdict.figures if verdict else ()
        return {each.score: each.estimate for each in found if each.slice is None and each.estimate is not None}

    earlier, later, scores = figures(before), figures(after), tasks.find(task).scores
    lines = []
    for name in dict.fromkeys((*earlier, *later)):
        better: Better = "less" if name in scores and not scores[name].higher_is_better else "more"
        lines.append(Line(name, "准确度", "", better, earlier.get(name), later.get(name), "verdicts"))
    return lines


def _notes(served: Sequence[Served], verdicts: Sequence[Verdict | None], price: float | None) -> list[str]:
    """What a reader must know before believing the table."""
    found = []
    for which, one, verdict in zip(("before", "after"), served, verdicts, strict=True):
        if one.minutes:
            first, last = one.minutes[0].minute, one.minutes[-1].minute
            when = f"in {len(one.minutes)} minutes, {first} to {last}"
            found.append(f"{which}: {one.sum('requests'):.0f} requests {when}")
        else:
            found.append(f"{which}: it answered nothing while minutes were kept, so serving was not measured")
        if verdict is None:
            found.append(f"{which}: no verdict, so accuracy was not measured")
    if all(verdicts) and len({each.evidence.test_rows for each in verdicts if each}) > 1:
        found.append("the two verdicts were reached on different test rows: compare them with hotline compare")
    if all(one.minutes for one in served):
        found.append("both answered what their callers asked at their time; another load gives other times")
    if price is None:
        found.append("no price was given (--price-per-hour): cost is seconds of computing")
    return found
