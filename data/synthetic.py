"""Generated tickets for the demo: a city's callers, region by region, with real-looking numbers and a few mistakes.

Wordings come from `demo_matters.yaml` (what it is about, by leaf of the tree) and `demo_wordings.yaml` (how it is
put). One region writes Cantonese in traditional characters, another colours its Mandarin with Sichuanese. Two in a
hundred messages are posted twice, nearly the same; one in a hundred rows is invalid, to be quarantined.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from data.wordings import Writer, leaves, phone, wordings
from hotline import labels

COLUMNS = ("工单号", "来电人", "区域", "渠道", "诉求内容", "一级分类", "二级分类", "三级分类", "受理时间")
MAPPING = Path(__file__).parent / "mappings" / "tickets.yaml"
REPEATED_CALLERS = 0.10
POSTED_TWICE = 0.02
INVALID = 0.01


def mapping() -> str:
    """The text of the mapping that imports the generated table."""
    return MAPPING.read_text(encoding="utf-8")


def generate(rows: int, seed: int) -> list[dict[str, str]]:
    """`rows` tickets by column name, the same for the same seed."""
    draw = random.Random(seed)
    writer, started = Writer(draw), datetime(2025, 1, 6, 8)
    regions, channels = wordings()["regions"], wordings()["channels"]
    callers: list[tuple[str, str]] = []
    tickets: list[dict[str, str]] = []
    for number in range(rows):
        if tickets and draw.random() < POSTED_TWICE:
            ticket = _again(draw, draw.choice(tickets[-200:]))
        else:
            if not callers or draw.random() > REPEATED_CALLERS:
                region = draw.choices(list(regions), [one["weight"] for one in regions.values()])[0]
                callers.append((phone(draw), region))
                caller = callers[-1]
            else:
                caller = draw.choice(callers[-500:])
            channel = draw.choices(list(channels), list(channels.values()))[0]
            leaf = draw.choice(leaves())
            text = writer.message(leaf, caller[1], channel)
            ticket = dict(zip(COLUMNS[1:], (*caller, channel, text, *leaf.path), strict=False))
        received = started + timedelta(minutes=7 * number + draw.randrange(7))
        ticket |= {"工单号": f"GD{received:%Y%m%d}{number:06d}", "受理时间": received.strftime("%Y/%-m/%-d %H:%M:%S")}
        tickets.append(ticket)
    return [_spoilt(draw, ticket) if draw.random() < INVALID else ticket for ticket in tickets]


def _again(draw: random.Random, ticket: Mapping[str, str]) -> dict[str, str]:
    """The same event, posted once more: by the same caller or a neighbour, with a few characters changed."""
    text = draw.choice(("", "再次反映：", "又来电话催：")) + ticket["诉求内容"].replace(
        "。", draw.choice(("。", "！")), 1
    )
    caller = ticket["来电人"] if draw.random() < 0.6 else phone(draw)
    return {**ticket, "来电人": caller, "诉求内容": text}


def _spoilt(draw: random.Random, ticket: Mapping[str, str]) -> dict[str, str]:
    """A row that must not get in: no text, or a label outside the tree."""
    wrong = {"诉求内容": ""} if draw.random() < 0.5 else {"三级分类": draw.choice(("其他", "待定", "不详"))}
    return {**ticket, **wrong}


def write_xlsx(path: Path, rows: int, seed: int) -> None:
    """The generated tickets as the spreadsheet that a hotline would send."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("工单")
    sheet.append(COLUMNS)
    for ticket in generate(rows, seed):
        sheet.append([ticket[column] for column in COLUMNS])
    book.save(path)


def stats(tickets: Sequence[Mapping[str, str]]) -> dict[str, int | float]:
    """How rich the language is: distinct sentences, characters and pairs of characters, mean length in characters."""
    texts = [ticket["诉求内容"] for ticket in tickets if ticket["诉求内容"]]
    sentences = {part for text in texts for part in re.split("[。！？]", text) if part}
    return {
        "messages": len(texts),
        "distinct_messages": len(set(texts)),
        "distinct_sentences": len(sentences),
        "characters": len(set("".join(texts))),
        "character_pairs": len({text[n : n + 2] for text in texts for n in range(len(text) - 1)}),
        "leaves": len({labels.join(leaf.path) for leaf in leaves()}),
        "mean_characters": round(sum(map(len, texts)) / len(texts), 1),
    }
