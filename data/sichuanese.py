"""Chengdu's pronunciation of Mandarin text, as pinyin for espeak-ng's `cmn-latn-pinyin` voice.

Rules after Zhang Fengtong, "The initials of Chengdu speech as compared with Standard Chinese", Journal of the
International Phonetic Association (1989), and Wiktionary, "About Chinese/Sichuanese" (finals and syllables): zh, ch, sh
are z, c, s; n is l except before i and ü (written v); hu is fu; -ing and -eng are -in and -en, but -ong after b, p, m,
f; uo, and e after g, k, h, are o. Tones 55, 21, 53, 213 are spoken with the nearest that the voice has: 55, neutral 11,
51, 214. The old entering tone went to the second (一, 七, 十, 出). The voice has no initial ng; n before i stays n.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.voices import package

TONES = {"1": "1", "2": "5", "3": "4", "4": "3", "5": "5"}
RULES = tuple(
    (re.compile(pattern), spoken)
    for pattern, spoken in (
        (r"^(z|c|s)h", r"\1"),
        (r"^n(?![iv])", "l"),
        (r"^hu$", "fu"),
        (r"^([bpmf])eng$", r"\1ong"),
        (r"(i|e)ng$", r"\1n"),
        (r"^wo$", "o"),
        (r"uo$", "o"),
        (r"^([gkh])e$", r"\1o"),
    )
)
STOPS = {"，": ",", "。": ".", "？": "?"}


@cache
def _words() -> dict[str, Any]:
    words: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "demo_sichuanese.yaml").read_text(encoding="utf-8"))
    return words


def syllable(pinyin: str, entering: bool = False) -> str:
    """One syllable of pinyin with its tone digit (`huo4`) as Chengdu says it (`ho3`)."""
    sound, tone = pinyin[:-1], pinyin[-1]
    for pattern, spoken in RULES:
        sound = pattern.sub(spoken, sound)
    return sound + TONES["2" if entering else tone]


def pinyin(text: str) -> str:
    """The characters as syllables divided by spaces; ，。？ as , . ?"""
    clauses = re.split(f"([{''.join(STOPS)}])", text)
    return " ".join(STOPS[clause] if clause in STOPS else _clause(clause) for clause in clauses if clause)


def _clause(characters: str) -> str:
    pypinyin = package("pypinyin")
    style = pypinyin.Style.TONE3
    read = pypinyin.lazy_pinyin(characters, style=style, neutral_tone_with_five=True, v_to_u=False)
    own, entering = _words()["readings"], _words()["entering"]
    spoken = (syllable(own.get(one, sound), one in entering) for one, sound in zip(characters, read, strict=True))
    return " ".join(spoken)
