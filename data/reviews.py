"""Generated contents to review for the demo: what callers and agents write to a hotline, harmless or a violation.

Wordings come from `demo_reviews.yaml`. Each is kept for one split, so that the test split is worded as nothing in
training is; the complaints of `data.wordings` stand among the harmless ones, and before violations. One row in a
hundred is invalid, to be quarantined.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.duplicates import bare
from data.wordings import Leaf, Writer, leaves, phone, wordings
from hotline import labels

COLUMNS = ("编号", "来电人", "区域", "渠道", "内容", "一级标签", "二级标签", "用途")
MAPPING = Path(__file__).parent / "mappings" / "reviews.yaml"
HARMLESS = "正常"
SHARES = {"train": 0.7, "validation": 0.12, "test": 0.18}
KINDS = {"ticket": 30, "angry": 20, "report": 28, "agent": 14, "other": 8}
"""Of what is harmless, in hundredths."""
VIOLATIONS = 0.5
COMPLAINS_FIRST = 0.25
"""Share of violations of callers that follow a complaint; agents and machines do not complain."""
SENTENCES = (35, 40, 25)
"""Violations of one, two and three sentences, in hundredths."""
CALLERS = ("辱骂", "歧视", "自伤", "隐私")
REPEATED_CALLERS = 0.2
INVALID = 0.01
SHINGLE, SHORT, ALIKE = 5, 40, 0.6
"""Characters of a shingle; shingles of a short text at most; their Jaccard similarity from which two are alike."""


def held(options: Sequence[Any], split: str) -> list[Any]:
    """The wordings of that split: of every nine one is for validation and one for the test."""
    return [each for number, each in enumerate(options) if _HOME.get(number % 9, "train") == split] or list(options)


_HOME = {2: "test", 5: "validation"}


@cache
def contents() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("demo_reviews.yaml").read_text(encoding="utf-8"))
    return content


@dataclass(frozen=True)
class Violation:
    """A leaf of the tree that is flagged, and its wordings."""

    path: tuple[str, str]
    phrases: tuple[str, ...]


@cache
def violations() -> tuple[Violation, ...]:
    return tuple(
        Violation((first, second), tuple(phrases))
        for first, below in contents()["labels"].items()
        for second, phrases in below.items()
    )


class Apart:
    """Remembers short texts, of which a few characters more or less make another one, by their side of the split."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[frozenset[str], str]]] = {}

    def fits(self, text: str, split: str) -> bool:
        """Whether no text of another side is nearly the same; then it is remembered."""
        clean = bare(text)
        own = frozenset(clean[at : at + SHINGLE] for at in range(max(1, len(clean) - SHINGLE + 1)))
        if len(own) > SHORT:
            return True
        others = (each for part in own for each in self._seen.get(part, ()))
        if any(side != split and len(own & other) > ALIKE * len(own | other) for other, side in others):
            return False
        for part in own:
            self._seen.setdefault(part, []).append((own, split))
        return True


def generate(rows: int, seed: int) -> list[dict[str, str]]:
    """`rows` contents by column name, the same for the same seed."""
    return list(_rows(rows, random.Random(seed)))


def _rows(rows: int, draw: random.Random) -> Iterator[dict[str, str]]:
    writer, regions, channels = Writer(draw, contents()["slots"]), wordings()["regions"], wordings()["channels"]
    apart = Apart()
    callers: dict[str, list[tuple[str, str]]] = {split: [] for split in SHARES}
    for number in range(rows):
        split = draw.choices(list(SHARES), list(SHARES.values()))[0]
        known = callers[split]
        if not known or draw.random() > REPEATED_CALLERS:
            known.append((phone(draw), draw.choices(list(regions), [one["weight"] for one in regions.values()])[0]))
            caller = known[-1]
        else:
            caller = draw.choice(known)
        channel = draw.choices(list(channels), list(channels.values()))[0]
        path, text = _content(writer, split, caller[1], channel)
        while not apart.fits(text, split):
            path, text = _content(writer, split, caller[1], channel)
        if draw.random() < INVALID:
            path, text = draw.choice(((path, ""), (("待定", ""), text)))
        said = (f"NR{number:07d}", *caller, channel, text, *path, split)
        yield dict(zip(COLUMNS, said, strict=True))


def _content(writer: Writer, split: str, region: str, channel: str) -> tuple[tuple[str, str], str]:
    """Label and text of one row."""
    draw, style = writer.draw, wordings()["regions"][region]["style"]
    if draw.random() < VIOLATIONS:
        chosen = draw.choice(violations())
        text = _said(writer, held(chosen.phrases, split))
        if chosen.path[0] in CALLERS:
            first = _complaint(writer, split) if draw.random() < COMPLAINS_FIRST else writer.fill(_before(draw))
            text = writer.rendered(first + text, style)
        return chosen.path, _ended(draw, text)
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    if kind == "ticket":
        return (HARMLESS, ""), writer.message(_held_leaf(draw, split), region, channel)
    text = writer.fill(draw.choice(held(contents()["harmless"][kind], split)))
    first = _complaint(writer, split) if kind == "angry" and draw.random() < COMPLAINS_FIRST else ""
    return (HARMLESS, ""), _ended(draw, text if kind == "agent" else writer.rendered(first + text, style))


def _said(writer: Writer, phrases: Sequence[str]) -> str:
    """One to three of these wordings, as people go on about a thing."""
    count = writer.draw.choices((1, 2, 3), SENTENCES)[0]
    return "。".join(map(writer.fill, writer.draw.sample(phrases, min(count, len(phrases)))))


def _before(draw: random.Random) -> str:
    return str(draw.choice(contents()["before"]))


def _complaint(writer: Writer, split: str) -> str:
    """What it is about, as a clause before."""
    return writer.fill(writer.draw.choice(_held_leaf(writer.draw, split).phrases)) + "，"


def _held_leaf(draw: random.Random, split: str) -> Leaf:
    """A matter with the phrases of that split only."""
    leaf = draw.choice(leaves())
    return replace(leaf, phrases=tuple(held(leaf.phrases, split)), cantonese=tuple(held(leaf.cantonese, split)))


def _ended(draw: random.Random, text: str) -> str:
    return text if text[-1] in "。！？" else text + draw.choice(("。", "！", "", "。"))


def write_csv(path: Path, rows: int, seed: int) -> None:
    """The generated contents as the table that a reviewing desk would send."""
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        table.writerows(generate(rows, seed))


def tree() -> set[str]:
    """Every path of the label tree."""
    return {HARMLESS, *(labels.join(each.path) for each in violations())}
