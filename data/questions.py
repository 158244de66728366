"""Generated questions for the demo: what callers ask, entry by entry of a list of questions, and what no entry answers.

Wordings come from `demo_questions.yaml`. Validation and test ask in wordings, and about matters without an entry, that
training never has.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.wordings import Writer, leaves, phone, wordings
from hotline import labels

COLUMNS = ("编号", "来电人", "区域", "渠道", "问题", "主题", "条目", "集合")
WORDINGS = Path(__file__).parent / "demo_questions.yaml"
MAPPING = Path(__file__).parent / "mappings" / "questions.yaml"
WITHOUT_ENTRY = 0.25
TOLD = ("城市管理", "生态环境", "市场监管", "公用事业")
"""Matters of the demo's tickets that callers tell where others ask: no entry answers them."""
SPLITS = {"train": 0.7, "validation": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Entry:
    """A standard question under its topic, and how callers put it; the entry that stands for none has no topic."""

    path: tuple[str, ...]
    said: tuple[str, ...]
    held: tuple[str, ...]

    def phrases(self, split: str) -> tuple[str, ...]:
        """Of what is held back, validation has every fourth wording, test the others."""
        of_validation = self.held[::4]
        return {"train": self.said, "validation": of_validation}.get(split) or tuple(
            phrase for phrase in self.held if phrase not in of_validation
        )


@cache
def entries() -> tuple[Entry, ...]:
    """Every entry; the last one stands for none."""
    content = _content()
    found = [
        Entry((topic, question), tuple(ways["said"]), tuple(ways["held"]))
        for topic, questions in content["entries"].items()
        for question, ways in questions.items()
    ]
    said, held = (tuple(content["none"][way]) for way in ("said", "held"))
    told = [leaf.phrases for leaf in leaves() if leaf.path[0] in TOLD]
    said += tuple(phrase for phrases in told[::2] for phrase in phrases)
    held += tuple(phrase for phrases in told[1::2] for phrase in phrases)
    return (*found, Entry((labels.NONE,), said, held))


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(WORDINGS.read_text(encoding="utf-8"))
    return content


def generate(rows: int, seed: int) -> list[dict[str, str]]:
    """`rows` questions by column name, the same for the same seed. A caller asks once."""
    draw = random.Random(seed)
    writer = Writer(draw)
    regions, channels = wordings()["regions"], wordings()["channels"]
    *known, none = entries()
    made: list[dict[str, str]] = []
    for number in range(rows):
        split = draw.choices(list(SPLITS), list(SPLITS.values()))[0]
        region = draw.choices(list(regions), [one["weight"] for one in regions.values()])[0]
        channel = draw.choices(list(channels), list(channels.values()))[0]
        entry = none if draw.random() < WITHOUT_ENTRY else draw.choice(known)
        text = _question(writer, draw.choice(entry.phrases(split)), regions[region]["style"])
        path = (*entry.path, "") if entry is none else entry.path
        values = (f"WD{number:06d}", phone(draw), region, channel, text, *path, split)
        made.append(dict(zip(COLUMNS, values, strict=True)))
    return made


def _question(writer: Writer, phrase: str, style: str) -> str:
    """A wording between what people say around it, in the region's words."""
    around = {name: writer.draw.choice(_content()[name]) for name in ("openings", "asides", "endings")}
    said = writer.fill(around["openings"] + around["asides"] + phrase + around["endings"])
    return writer.rendered(said, style)


def write_xlsx(path: Path, rows: int, seed: int) -> None:
    """The generated questions as the spreadsheet that a hotline would send."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("问题")
    sheet.append(COLUMNS)
    for question in generate(rows, seed):
        sheet.append([question[column] for column in COLUMNS])
    book.save(path)
