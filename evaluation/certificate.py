"""The certificate: one A4 page in Chinese, English beside, that the head of a hotline can file.

Which model, on which calls, how sure, who approved, valid until when; and how anybody can check it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.entitlement import refuse_unpassed
from evaluation.judged import Judged
from hotline import dialects, text
from hotline.errors import RefusedError
from hotline.records import Figure, Finding
from hotline.task import Bar

SCORES = {
    "accuracy": "准确率",
    "macro_f1": "宏平均 F1",
    "micro_f1": "微平均 F1",
    "top3_accuracy": "前三准确率",
    "level1_accuracy": "一级分类准确率",
    "ece": "校准误差",
    "cer": "字错误率",
    "mer": "混合错误率",
    "utterance_cer": "逐句字错误率",
    "entity_cer": "实体字错误率",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "token_f1": "字词 F1",
    "exact_match": "完全一致率",
    "refusal_f1": "拒答 F1",
}
COLUMNS = {"region": "区域", "channel": "渠道", "dialect": "方言", "length": "时长"}
SHOWN_VALUES = 8
"""Values of a slice that are listed; the number of the others is said."""


@dataclass(frozen=True)
class Line:
    """One bar of the profile as a row of the certificate; for one over a slice, the value that came closest to it."""

    zh: str
    en: str
    figure: Figure | None
    instead: tuple[str, str] | None
    """In both languages, why there is no difference to the champion to show."""
    relative: bool
    where: str
    count: int
    """How many values the bar was decided on; 1 where it is over everything."""


def page(judged: Judged) -> str:
    """The certificate as one self-contained HTML page.

    Raises RefusedError unless the verdict passed, under the site's profile, and is still valid.
    """
    refuse_unpassed(judged.entry, judged.verdict, judged.site)
    ends = judged.valid_until
    if ends is not None and datetime.now(UTC).date() > ends:
        raise RefusedError(
            f"the verdict on {judged.name} has expired",
            where=f"ledger entry {judged.entry.seq}",
            found=f"valid until {ends}",
            next=f"hotline judge {judged.verdict.model.line}",
        )
    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(Path(__file__).parent),
    )
    environment.filters |= {"day": day, "share": share}
    whole = judged.whole[0]
    return environment.get_template("certificate.html").render(
        judged=judged,
        verdict=judged.verdict,
        rows=whole.rows,
        callers=whole.clusters,
        sound=judged.task.audio_field is not None,
        lines=[_line(judged, words, found) for words, found in _by_bar(judged.verdict.findings)],
        slices=[_listed(column, figures) for column, figures in judged.slices().items()],
        title=_title(judged.task.summary),
    )


def day(time: str | date) -> str:
    """2026年11月21日."""
    when = time if isinstance(time, date) else datetime.fromisoformat(time).astimezone(UTC)
    return f"{when.year}年{when.month}月{when.day}日"


def share(value: float | None) -> str:
    """0.9661 → 96.6 %."""
    return "—" if value is None else f"{100 * value:.1f} %"


def _title(summary: str) -> str:
    """The task in Chinese: what stands in brackets at the end of its summary, else its first sentence."""
    _, found, rest = summary.strip().rpartition("(")
    title = rest.rstrip(" .)") if found and rest.rstrip(" .").endswith(")") else summary.strip().splitlines()[0]
    return str(text.converter("t2s").convert(title))


def _by_bar(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.bar, []).append(finding)
    return list(found.items())


def _line(judged: Judged, words: str, findings: Sequence[Finding]) -> Line:
    bar = judged.bar(words)
    figures = [finding.figure for finding in findings if finding.figure is not None]
    figure = _closest(bar, figures, judged) if bar and figures else next(iter(figures), None)
    relative = bar is not None and bar.not_worse_than_champion_by is not None
    return Line(
        zh=_zh(bar) if bar else words,
        en=words,
        figure=figure,
        instead=_alone(judged) if relative else None,
        relative=relative,
        where=_value(figure.slice, figure.value) if figure and figure.slice else "",
        count=len(findings),
    )


def _alone(judged: Judged) -> tuple[str, str] | None:
    """Why the version was compared with no champion; None when it was."""
    before = judged.verdict.previous_champion
    if before is None:
        return "首个模型，无可比对象", "first model: there was no champion to compare with"
    if before == judged.verdict.model.digest:
        return "被评版本即现任模型", "this version was the champion itself"
    return None


def _closest(bar: Bar, figures: Sequence[Figure], judged: Judged) -> Figure:
    """The figure whose interval comes closest to the limit, or reaches furthest past it."""
    higher = bar.at_least is not None or (bar.at_most is None and judged.task.scores[bar.score].higher_is_better)
    worst = min if higher else max
    measured = [figure for figure in figures if figure.low is not None and figure.high is not None] or list(figures)
    return worst(measured, key=lambda figure: (figure.low if higher else figure.high) or 0.0)


def _zh(bar: Bar) -> str:
    score = SCORES.get(bar.score, bar.score)
    score += " " if score[-1].isascii() else ""
    over = f"每个{COLUMNS.get(bar.slice, bar.slice)}的" if bar.slice else ""
    if bar.not_worse_than_champion_by is not None:
        return f"{over}{score}比现任模型差不超过 {100 * bar.not_worse_than_champion_by:g} 个百分点"
    limit = bar.at_least if bar.at_least is not None else bar.at_most or 0.0
    return f"{over}{score}{'不低于' if bar.at_least is not None else '不高于'} {100 * limit:g} %"


def _value(column: str | None, value: str | None) -> str:
    """A slice's value as a person says it: a dialect by its Chinese name."""
    if column != "dialect":
        return str(value)
    return next((entry.zh for entry in dialects.registry().dialects if entry.tag == value), str(value))


def _listed(column: str, figures: Sequence[Figure]) -> dict[str, Any]:
    largest = sorted(figures, key=lambda figure: -figure.rows)
    return {
        "name": COLUMNS.get(column, column),
        "en": column,
        "values": [(_value(column, figure.value), figure.rows) for figure in largest[:SHOWN_VALUES]],
        "more": len(largest) - SHOWN_VALUES if len(largest) > SHOWN_VALUES else 0,
    }
