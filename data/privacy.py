"""Personal data in text: found, and replaced by typed, keyed, realistic surrogates before a row is stored.

The same value always has the same surrogate under one key, so that what a task must extract stays learnable; without
the key nobody gets from the surrogate to the person.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import phonenumbers
from stdnum.cn import ric

from hotline.errors import IntegrityError
from hotline.task import Span

_BLANK = r"[ \u00a0\-‐-―]"
"""What people put between groups of digits, after `_plain`."""
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0x2009: " ", 0x09: " "}
_HASH_CHARACTERS = 16


@dataclass(frozen=True)
class Found:
    """Characters [start, end) of a text; `value` is the one spelling that all surfaces of the same datum share."""

    start: int
    end: int
    value: str


class Recogniser(Protocol):
    """One kind of personal data. `examples` must be found whole, `counterexamples` not at all."""

    @property
    def kind(self) -> str: ...
    @property
    def examples(self) -> tuple[str, ...]: ...
    @property
    def counterexamples(self) -> tuple[str, ...]: ...

    def find(self, text: str) -> list[Found]:
        """Every occurrence, in order, none overlapping."""

    def candidates(self, found: Found, draws: Iterator[int]) -> Iterator[str]:
        """Endless valid values of the same length as the digits that `found.value` ends with."""


def _plain(text: str) -> str:
    """Full-width digits, letters, signs and blanks as half-width ones; every character keeps its place."""
    return text.translate(_WIDE)


class Mobile:
    """Mobile numbers of mainland China and Hong Kong, with or without country code, blanks and hyphens."""

    kind = "mobile"
    examples = (
        "13800138000",
        "+86 138-0013-8000",
        "008613912345678",
        "(+86)13912345678",
        "１３８００１３８０００",
        "1 3 8 0 0 1 3 8 0 0 0",
        "+852 9123 4567",
        "61234567",
    )
    counterexamples = (
        "12345",
        "10086",
        "0755-88889999",
        "20240513",
        "1380013800012",
        "工单202401138001380001",
        "51234567元",
        "12800138000",
    )
    _pattern = re.compile(
        rf"(?<![\d.])(?:[(]?(?:\+|00)?86[)]?{_BLANK}?)?"
        rf"(?P<cn>1[3-9]\d(?:{_BLANK}?\d{{4}}{_BLANK}?\d{{4}}|{_BLANK}\d{{3}}{_BLANK}\d{{5}})|1{_BLANK}[3-9](?:{_BLANK}\d){{9}})(?!\d)"
        rf"|(?<![\d.])(?<!\d{_BLANK})(?:[(]?(?:\+|00)?852[)]?{_BLANK}?)?"
        rf"(?P<hk>[4-9]\d{{3}}{_BLANK}?\d{{4}})(?!{_BLANK}?\d|\.\d|{_BLANK}?[元块万亿])"
    )

    def find(self, text: str) -> list[Found]:
        found = []
        for match in self._pattern.finditer(_plain(text)):
            region = match.lastgroup or "cn"
            value = f"+{'86' if region == 'cn' else '852'}{_digits(match[region])}"
            if _is_mobile(value):
                found.append(Found(match.start(), match.end(), value))
        return found

    def candidates(self, found: Found, draws: Iterator[int]) -> Iterator[str]:
        """National numbers of the same region."""
        for draw in draws:
            if found.value.startswith("+86"):
                national, country = f"1{3 + draw % 7}{draw // 7 % 10**9:09d}", "+86"
            else:
                national, country = f"{(5, 6, 9)[draw % 3]}{draw // 3 % 10**7:07d}", "+852"
            if _is_mobile(country + national):
                yield national


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _is_mobile(international: str) -> bool:
    try:
        number = phonenumbers.parse(international, None)
    except phonenumbers.NumberParseException:
        return False
    return bool(
        phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
    )


class ResidentId:
    """Resident identity numbers of mainland China, 18 characters with a check digit (GB 11643-1999)."""

    kind = "resident_id"
    examples = ("11010119900307803X", "１１０１０１１９９００３０７８０３Ｘ", "360426 19910101 0071")
    counterexamples = ("110101199003078031", "11010119901307803X", "2110101199003078033", "990101199003078034")
    _pattern = re.compile(
        rf"(?<!\d)[1-9]\d{{5}}{_BLANK}?(?:18|19|20)\d{{2}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]){_BLANK}?\d{{3}}[\dXx](?![\dA-Za-z])"
    )
    _places = ("110101", "310104", "440106", "510104", "420106", "330106", "320102", "610103", "210102", "350203")
    """Districts of ten cities; a year before a district got its code is drawn again."""

    def find(self, text: str) -> list[Found]:
        found = []
        for match in self._pattern.finditer(_plain(text)):
            value = re.sub(_BLANK, "", match[0]).upper()
            if ric.is_valid(value):
                found.append(Found(match.start(), match.end(), value))
        return found

    def candidates(self, found: Found, draws: Iterator[int]) -> Iterator[str]:
        """Other people's numbers: places, birthdays 1950–1999, order codes."""
        for draw in draws:
            place = self._places[draw % 10]
            birthday = f"{1950 + draw // 10 % 50}{1 + draw // 500 % 12:02d}{1 + draw // 6000 % 28:02d}"
            value = f"{place}{birthday}{draw // 168_000 % 1000:03d}"
            value += ric.calc_check_digit(value + "0")
            if ric.is_valid(value):
                yield value


RECOGNISERS: tuple[Recogniser, ...] = (ResidentId(), Mobile())


def find_all(text: str, recognisers: Sequence[Recogniser] = RECOGNISERS) -> list[tuple[Recogniser, Found]]:
    """Every occurrence of every kind in order; where two overlap, the longer one counts."""
    if not any(character.isdigit() for character in text):
        return []
    every = [(recogniser, found) for recogniser in recognisers for found in recogniser.find(text)]
    chosen: list[tuple[Recogniser, Found]] = []
    for recogniser, found in sorted(every, key=lambda item: item[1].start - item[1].end):
        if all(found.end <= other.start or other.end <= found.start for _, other in chosen):
            chosen.append((recogniser, found))
    return sorted(chosen, key=lambda item: item[1].start)


def replace(text: str, recognisers: Sequence[Recogniser], key: bytes, field: str = "text") -> tuple[str, list[Span]]:
    """The text with surrogates, and where in it they are; `field` names the input field in the spans."""
    pieces, spans, position, length = [], [], 0, 0
    for recogniser, found in find_all(text, recognisers):
        surrogate = _surrogate(recogniser, found, text[found.start : found.end], key)
        pieces += [text[position : found.start], surrogate]
        length += found.start - position
        spans.append(Span(field=field, start=length, end=length + len(surrogate), kind=recogniser.kind))
        length += len(surrogate)
        position = found.end
    return "".join([*pieces, text[position:]]), spans


def mask(text: str) -> str:
    """The text with the kind in place of every datum, for messages and quarantine files."""
    pieces, position = [], 0
    for recogniser, found in find_all(text):
        pieces += [text[position : found.start], f"[{recogniser.kind}]"]
        position = found.end
    return "".join([*pieces, text[position:]])


def keyed_hash(value: str, kind: str, key: bytes) -> str:
    """16 hex characters that stand for a person; spellings of one mobile number or ID have the same."""
    whole = unicodedata.normalize("NFKC", value).strip()
    found = find_all(whole)
    one = found[0][1] if len(found) == 1 else None
    if one and one.start == 0 and one.end == len(whole):
        whole = one.value
    return hmac.new(key, f"{kind}:{whole}".encode(), hashlib.sha256).hexdigest()[:_HASH_CHARACTERS]


def _draws(key: bytes, seed: str) -> Iterator[int]:
    counter = 0
    while True:
        yield int.from_bytes(hmac.new(key, f"surrogate:{seed}:{counter}".encode(), hashlib.sha256).digest()[:12])
        counter += 1


def _surrogate(recogniser: Recogniser, found: Found, surface: str, key: bytes) -> str:
    """A valid value in the surface's own format: its separators and the width of its characters."""
    original = found.value
    for value in recogniser.candidates(found, _draws(key, f"{recogniser.kind}:{original}")):
        if not original.endswith(value):
            return _in_format(surface, value)
    raise IntegrityError(f"no surrogate for a {recogniser.kind}", next="hotline doctor")


def _in_format(surface: str, value: str) -> str:
    """The last characters of `surface` that are digits or X, overwritten from the right; a country code stays."""
    characters = list(surface)
    places = [n for n, character in enumerate(_plain(surface)) if character.isdigit() or character in "Xx"]
    for place, new in zip(reversed(places), reversed(value), strict=False):
        wide = ord(characters[place]) > 0xFF00
        characters[place] = chr(ord(new) + 0xFEE0) if wide else new
    return "".join(characters)


def check(recogniser: Recogniser, key: bytes = b"check") -> list[str]:
    """What is wrong with a recogniser by its own examples; empty when nothing is."""
    wrong = [f"{text!r} is not found whole" for text in recogniser.examples if not _found_whole(recogniser, text)]
    wrong += [f"{text!r} is found" for text in recogniser.counterexamples if recogniser.find(text)]
    for text in recogniser.examples:
        glued = f"我的号码是{text}，请回电"
        surrogate, spans = replace(glued, [recogniser], key)
        if text in surrogate or len(spans) != 1:
            wrong.append(f"{text!r} survives in {surrogate!r}")
        elif not _found_whole(recogniser, surrogate[spans[0].start : spans[0].end]):
            wrong.append(f"the surrogate of {text!r} is not valid: {surrogate!r}")
    return wrong


def _found_whole(recogniser: Recogniser, text: str) -> bool:
    found = recogniser.find(text)
    return len(found) == 1 and (found[0].start, found[0].end) == (0, len(text))
