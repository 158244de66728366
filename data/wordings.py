"""How the demo's callers put it: phrases filled in, ordered, and rendered in a region's own words and script."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MIN_CHARACTERS, MAX_CHARACTERS = 20, 160
RESOLVED_BEFORE = 0.10
"""Share of messages that first name another matter, which is not what the call is about."""
OWN_PHRASE = 0.75
"""How often the Cantonese region uses a phrase of its own rather than a rendered one."""
_ALTERNATIVES = re.compile(r"\[([^\[\]]+)\]")
_SLOT = re.compile(r"<(\w+)>")


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return content


@dataclass(frozen=True)
class Leaf:
    """A leaf of the tree: its path, its phrases, and the Cantonese region's own."""

    path: tuple[str, str, str]
    phrases: tuple[str, ...]
    cantonese: tuple[str, ...]


@cache
def leaves() -> tuple[Leaf, ...]:
    """Every leaf that callers of the demo speak of."""
    return tuple(
        Leaf(
            (first, second, third),
            tuple(phrase for phrase in phrases if isinstance(phrase, str)),
            tuple(phrase["yue"] for phrase in phrases if not isinstance(phrase, str)),
        )
        for first, seconds in _read("demo_matters.yaml").items()
        for second, thirds in seconds.items()
        for third, phrases in thirds.items()
    )


@cache
def wordings() -> dict[str, Any]:
    return _read("demo_wordings.yaml")


class Writer:
    """Fills phrases: alternatives first, then slots, which may hold alternatives again."""

    def __init__(self, draw: random.Random, more: Mapping[str, Any] | None = None) -> None:
        """`more` are lists of words beside those of the demo."""
        self.draw, self.words = draw, wordings() | dict(more or {})
        self.numbers: Mapping[str, Callable[[], str]] = {
            "n": lambda: str(draw.randint(2, 30)),
            "number": lambda: str(draw.randint(1, 199)),
            "month": lambda: str(draw.randint(1, 12)),
            "day": lambda: str(draw.randint(1, 28)),
            "hour": lambda: str(draw.randint(5, 11)),
            "money": self._money,
            "phone": lambda: _spaced(draw, phone(draw)),
            "resident": lambda: resident_id(draw),
        }

    def fill(self, text: str) -> str:
        while match := _ALTERNATIVES.search(text):
            text = text[: match.start()] + self.draw.choice(match[1].split("|")) + text[match.end() :]
        return _SLOT.sub(lambda match: self._slot(match[1]), text)

    def _slot(self, name: str) -> str:
        if name in self.numbers:
            return self.numbers[name]()
        options = self.words[name]
        return self.fill(options if isinstance(options, str) else self.draw.choice(options))

    def _money(self) -> str:
        return self.draw.choice((f"{self.draw.randint(2, 99) * 10}元", f"{self.draw.randint(1, 9)}千多", "几百块"))

    def message(self, leaf: Leaf, region: str, channel: str) -> str:
        """One caller's words about that leaf, in the region's way and the channel's length."""
        style = self.words["regions"][region]["style"]
        for _ in range(50):
            text = self._compose(leaf, style, channel)
            if MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS:
                return text
        return text[:MAX_CHARACTERS].ljust(MIN_CHARACTERS, "。")

    def _compose(self, leaf: Leaf, style: str, channel: str) -> str:
        voice = self.words["styles"][style]
        own = style == "cantonese" and self.draw.random() < OWN_PHRASE
        core = self.rendered(self.fill(self.draw.choice(leaf.cantonese if own else leaf.phrases)), style)
        place = self.rendered(self._slot("place"), "plain" if style == "sichuan" else style)
        when = self.rendered(self._slot("time"), style)
        parts = self._ordered(place, when, core)
        if self.draw.random() < RESOLVED_BEFORE:
            parts = self.rendered(self._resolved(leaf), style) + parts
        if self.draw.random() < (0.2 if style == "brief" else 0.5):
            parts += "，" + self.rendered(self.fill(self.draw.choice(self.words["details"][leaf.path[0]])), style)
        ends = [
            self.fill(self.draw.choice(voice[name])) for name in ("feeling", "request") if self.draw.random() < 0.55
        ]
        if self.draw.random() < (0.04 if channel == "电话" else 0.12):
            ends.append(self.rendered(self.fill(self.draw.choice(self.words["contact"])), style))
        opening = self.fill(self.draw.choice(voice["opening"])) if channel in ("电话", "网站") else ""
        filler = self.draw.choice(self.words["fillers"]) if channel == "电话" and self.draw.random() < 0.25 else ""
        whole = opening + filler + parts + "。" + "".join(ends)
        return self._misspelt(whole.translate(_script()) if style == "cantonese" else whole, channel)

    def _ordered(self, place: str, when: str, core: str) -> str:
        shape = self.draw.random()
        if shape < 0.35:
            return f"{place}{core}"
        if shape < 0.6:
            return f"{place}，{when}{core}"
        if shape < 0.8:
            return f"{when}{place}{core}"
        return f"{core}，{self.draw.choice(('地点在', '位置：', '就在', '在'))}{place}"

    def _resolved(self, leaf: Leaf) -> str:
        other = self.draw.choice([one for one in leaves() if one.path != leaf.path])
        aside = self.fill(self.draw.choice(other.phrases)).split("，")[0]
        return self.fill(self.draw.choice(self.words["resolved"]).replace("<other>", aside))

    def rendered(self, text: str, style: str) -> str:
        """The text in the region's words; Cantonese also in its script."""
        if style == "sichuan":
            table = self.words["sichuan"]
            return _pattern(style).sub(
                lambda match: str(table[match[0]]) if self.draw.random() < 0.7 else match[0], text
            )
        if style == "cantonese":
            table = self.words["cantonese"]
            return _pattern(style).sub(lambda match: str(table[match[0]]), text).translate(_script())
        return text

    def _misspelt(self, text: str, channel: str) -> str:
        if channel == "电话" or self.draw.random() > 0.15:
            return text
        typos = self.words["typos"]
        places = [place for place, character in enumerate(text) if character in typos]
        for place in self.draw.sample(places, min(len(places), 2)):
            text = text[:place] + typos[text[place]] + text[place + 1 :]
        return text


@cache
def _pattern(style: str) -> re.Pattern[str]:
    return re.compile("|".join(sorted(map(re.escape, wordings()[style]), key=len, reverse=True)))


@cache
def _script() -> dict[int, str]:
    words = wordings()
    simplified, traditional = (words[name].replace(" ", "") for name in ("simplified", "traditional"))
    return {ord(one): other for one, other in zip(simplified, traditional, strict=True)}


def phone(draw: random.Random) -> str:
    """A mobile number that nobody was asked for."""
    prefix = draw.choice(("133", "135", "136", "137", "138", "139", "150", "151", "158", "159", "176", "186", "188"))
    return f"{prefix}{draw.randrange(10**8):08d}"


def _spaced(draw: random.Random, number: str) -> str:
    return draw.choice((number, number, f"{number[:3]} {number[3:7]} {number[7:]}", f"+86 {number}"))


def resident_id(draw: random.Random) -> str:
    """A valid resident identity number."""
    from stdnum.cn import ric

    number = (
        f"110101{draw.randint(1950, 1999)}{draw.randint(1, 12):02d}{draw.randint(1, 28):02d}{draw.randrange(1000):03d}"
    )
    return number + str(ric.calc_check_digit(number + "0"))
