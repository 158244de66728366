"""Numbers as they are said and as they are written, by the transducers of wetext (WeTextProcessing).

The library's own chain can answer with nothing (its released verbaliser does not know the numbers zero to nine) and
escapes quotation marks, so numbers are taken token by token: what the library cannot verbalise stays as it was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from hotline.text import converter, data

_NUMERALS = "零〇一二三四五六七八九十百千万亿兆两幺半廿"
_POWERS = tuple("十百千万亿兆")
_HAS_NUMERAL = re.compile(f"[{_NUMERALS}萬億兩]")
_CLAUSE_END = re.compile(r"((?<!\d)[,:]|[,:](?!\d)|[，。！？；：、!?;\n]+)")
_BESIDE = r"(?:[A-Za-z]+|[^0-9，。！？；、!?;\n])"
_READ_OUT = re.compile(rf"{_BESIDE}{{0,6}}[0-9](?:.{{0,6}}[0-9])*{_BESIDE}{{0,6}}")
"""Digits and what their reading may depend on. Reading whole sentences takes twice as long and reads the same."""
_HALF_WIDTH = {ord(wide): narrow for wide, narrow in zip("０１２３４５６７８９％．", "0123456789%.", strict=True)}
_WIDE_COLON = re.compile(r"(?<=[0-9])：(?=[0-9])")
_HAN = re.compile(r"[\u3400-\u9fff]")
_ENGLISH = re.compile(r"[a-z]{3,}|[a-z]+ [a-z]+")
_DIGITS = dict(zip("零〇幺一二两三四五六七八九", "0011223456789", strict=True))
_LONE = re.compile(r"(正负|负|)([零〇一二两三四五六七八九])(?![零一二三四五六七八九十百万亿兆点])")
_AFTER_DIGIT = re.compile(r"(\d)([零一二两三四五六七八九])")
_SIGNS = {"": "", "负": "-", "正负": "±"}
_KILO = re.compile(r"[一二两三四五六七八九]千(?:克|米|瓦|卡|焦|伏|赫|帕)")
_AMOUNT = re.compile(
    r"(?:正负|负)?(?:[零一二两三四五六七八九]|[零一二两三四五六七八九]*[十百千万亿兆][零一二两三四五六七八九十百千万亿兆]*)"
)
"""A number as against a row of digits or an address, which are written in digits wherever they stand."""


@dataclass(frozen=True)
class _Token:
    """A stretch of text that the library took for one thing: a number with its unit, a date, one character."""

    kind: str
    said: str
    tagged: str


def written(text: str, *, lone_numbers: bool = True, lone_digits: bool = False) -> str:
    """Numbers in digits: 二零二六年三月 → 2026/03, 百分之三十 → 30%; the script of all else stays.

    `lone_numbers`: also those that count nothing (五十五 → 55). `lone_digits`: also zero to nine (三个 → 3个).
    """
    parts = []
    for clause in _CLAUSE_END.split(text):
        parts.append(_written(clause, lone_numbers, lone_digits) if _HAS_NUMERAL.search(clause) else clause)
    return "".join(parts)


def spoken(text: str) -> str:
    """Digits in words, as they are read out: 2026年 → 二零二六年, 30% → 百分之三十; in an English text in English."""
    if not re.search(r"\d", text):
        return text
    text = _WIDE_COLON.sub(":", text.translate(_HALF_WIDTH))
    language = "en" if _ENGLISH.search(text) and not _HAN.search(text) else "zh"
    return _READ_OUT.sub(lambda found: _spoken(found[0], language), text)


@lru_cache(maxsize=1 << 12)
def _spoken(clause: str, language: str) -> str:
    """A stretch of text with its digits read out; as it was where the library has no reading."""
    from wetext import reorder, tag, verbalize

    plain = clause.strip()
    tagged = tag(plain, language, "tn")
    said = verbalize(reorder(tagged, language, "tn"), language, "tn") if tagged else ""
    start = len(clause) - len(clause.lstrip())
    return clause[:start] + _unescaped(said) + clause[start + len(plain) :] if said else clause


@lru_cache(maxsize=1 << 12)
def _written(clause: str, lone_numbers: bool, lone_digits: bool) -> str:
    """A clause with its numbers in digits; rows of digits and words that only look like numbers are cut out first."""
    whole, position = [], 0
    for cut in _cut_out().finditer(clause):
        whole.append(_numbers(clause[position : cut.start()], lone_numbers, lone_digits))
        whole.append("".join(_DIGITS[digit] for digit in cut[0]) if cut["row"] else cut[0])
        position = cut.end()
    return "".join([*whole, _numbers(clause[position:], lone_numbers, lone_digits)])


def _numbers(text: str, lone_numbers: bool, lone_digits: bool) -> str:
    text = text.replace("廿", "二十")
    plain = converter("t2s").convert(text)
    if len(plain) != len(text):  # a phrase of another length: the places of characters would be lost
        plain = text
    found, position = [], 0
    for token in _tokens(plain, lone_digits):
        if plain[position : position + len(token.said)] != token.said:
            return text
        original = text[position : position + len(token.said)]
        position += len(token.said)
        torn = token.said in _DIGITS and plain[position : position + 1] in _POWERS  # 零百 is no number, nor 0百
        result = token.said if torn else _digits(token, lone_numbers, lone_digits)
        found.append(_restored(original, token.said, result))
    return "".join(found) + text[position:]


def _restored(original: str, plain: str, result: str) -> str:
    """`result` with the characters that were simplified for the library as they were: 三百個 → 300個."""
    if result == plain:
        return original
    before = {simple: form for simple, form in zip(plain, original, strict=True) if simple != form}
    return "".join(before.get(character, character) for character in result)


def _digits(token: _Token, lone_numbers: bool, lone_digits: bool) -> str:
    if token.kind == "char":
        return token.said
    if token.kind == "cardinal" and not lone_numbers and _AMOUNT.fullmatch(token.said):
        return token.said
    if lone_digits and _KILO.match(token.said):  # else 一千克 is 1000g and not 1kg
        return _lone(token)
    result = _verbalised(token.tagged)
    if not result:
        return _lone(token)
    return _AFTER_DIGIT.sub(lambda pair: f"{pair[1]} {_DIGITS[pair[2]]}", result) if lone_digits else result


def _lone(token: _Token) -> str:
    """A number from zero to nine and its unit. The library verbalises ten and more, so it is asked for ten more."""
    match = _LONE.match(token.said)
    if match is None:
        return token.said
    sign, digit = _SIGNS[match[1]], _DIGITS[match[2]]
    unit = token.said[match.end() :]
    if unit and digit != "0":
        numeral = "二" if match[2] == "两" else match[2]
        teen = _verbalised(f'{token.kind} {{ value: "十{numeral}{unit}" }}')
        if teen.startswith(f"1{digit}"):
            return sign + teen[1:]
    return sign + digit + unit


def _tokens(text: str, lone_digits: bool) -> Iterator[_Token]:
    """The library's tokens, in order; none when it has no reading."""
    from wetext import tag
    from wetext.token_parser import TokenParser

    tagged = tag(text, "zh", "itn", enable_0_to_9=lone_digits) if text.strip() else ""
    if not tagged:
        return
    parser = TokenParser("zh", "itn")
    parser.parse(tagged)
    for token in parser.tokens:
        said = "".join(value for name, value in token.members.items() if name != "preserve_order")
        yield _Token(token.name, _unescaped(said), token.string(parser.orders))


def _unescaped(text: str) -> str:
    """Quotation marks and backslashes as they were before the library saw them."""
    return re.sub(r'\\(["\\])', r"\1", text)


@lru_cache(maxsize=1 << 14)
def _verbalised(tagged: str) -> str:
    """The token in digits, empty when the library cannot."""
    from wetext import verbalize

    return str(verbalize(tagged, "zh", "itn"))


@cache
def _cut_out() -> re.Pattern[str]:
    """What the library shall not see; `row` is five digits and more, in which it finds ranges (七八九 → 7 89)."""
    digit = "零〇一二三四五六七八九幺"
    row = f"(?<![{digit}十百千万萬亿億兆点點])[{digit}]{{5,}}(?![{digit}十百千万萬亿億兆点點年])"
    return re.compile("|".join([f"(?P<row>{row})", *data()["not_numbers"]]))
