"""Personal data is found in every spelling, and what stands in for it says nothing about a person."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric

from data import privacy
from data.privacy import RECOGNISERS, Recogniser

KEY = b"k" * 32
words = st.text(st.sampled_from("请回电我的号码是，。 abc\n"), max_size=8)
mobiles = st.builds(
    lambda head, tail: f"{head}{tail:08d}",
    st.sampled_from(["138", "139", "150", "186", "199"]),
    st.integers(0, 10**8 - 1),
)
formats = st.sampled_from(["{}", "+86{}", "+86 {}", "0086{}", "{:.3}-{}"])


@st.composite
def spelt(draw: st.DrawFn) -> tuple[str, str]:
    """A mobile number, and one of the ways people write it."""
    number = draw(mobiles)
    grouped = draw(
        st.sampled_from(
            [number, f"{number[:3]} {number[3:7]} {number[7:]}", f"{number[:3]}-{number[3:7]}-{number[7:]}"]
        )
    )
    prefix = draw(st.sampled_from(["", "+86", "+86 ", "0086", "86-"]))
    surface = prefix + grouped
    if draw(st.booleans()):
        surface = surface.translate({ord(digit): chr(ord(digit) + 0xFEE0) for digit in "0123456789"})
    return number, surface


@pytest.mark.parametrize("recogniser", RECOGNISERS, ids=lambda recogniser: recogniser.kind)
def test_a_recogniser_passes_its_own_examples(recogniser: Recogniser) -> None:
    assert privacy.check(recogniser) == []


def test_there_are_two_recognisers() -> None:
    assert [recogniser.kind for recogniser in RECOGNISERS] == ["resident_id", "mobile"]


@given(words, spelt(), words)
def test_no_digit_string_of_a_mobile_number_survives(before: str, number: tuple[str, str], after: str) -> None:
    digits, surface = number
    text, spans = privacy.replace(before + surface + after, RECOGNISERS, KEY)
    plain = "".join(character for character in privacy._plain(text) if character.isdigit())
    assert digits not in plain
    assert len(spans) == 1


@given(words, spelt(), words)
def test_spans_are_exact_and_surrogates_valid_in_the_same_format(
    before: str, number: tuple[str, str], after: str
) -> None:
    _, surface = number
    text, (span,) = privacy.replace(before + surface + after, RECOGNISERS, KEY)
    surrogate = text[span.start : span.end]
    assert (text[: span.start], text[span.end :]) == (before, after)
    assert [character.isdigit() for character in surrogate] == [character.isdigit() for character in surface]
    assert len(RECOGNISERS[1].find(surrogate)) == 1


@given(st.integers(1950, 1999), st.integers(1, 12), st.integers(1, 28), st.integers(0, 999))
def test_a_resident_id_becomes_another_valid_one(year: int, month: int, day: int, order: int) -> None:
    number = f"110101{year}{month:02d}{day:02d}{order:03d}"
    number += ric.calc_check_digit(number + "0")
    text, (span,) = privacy.replace(f"身份证{number}，谢谢", RECOGNISERS, KEY)
    surrogate = text[span.start : span.end]
    assert span.kind == "resident_id"
    assert surrogate != number
    assert ric.is_valid(surrogate)


@given(spelt(), spelt())
def test_every_spelling_of_one_number_has_one_surrogate(one: tuple[str, str], other: tuple[str, str]) -> None:
    number, surface = one
    plain = privacy.replace(number, RECOGNISERS, KEY)[0]
    text, (span,) = privacy.replace(surface, RECOGNISERS, KEY)
    national = privacy._plain(text[span.start : span.end])
    assert "".join(filter(str.isdigit, national)).endswith(plain)
    if other[0] != number:
        assert privacy.replace(other[0], RECOGNISERS, KEY)[0] != plain


def test_another_key_gives_another_surrogate() -> None:
    text = "电话13800138000"
    assert privacy.replace(text, RECOGNISERS, KEY)[0] != privacy.replace(text, RECOGNISERS, b"another")[0]


def test_a_hong_kong_number_becomes_a_hong_kong_number() -> None:
    text, (span,) = privacy.replace("打畀我+852 9123 4567啦", RECOGNISERS, KEY)
    number = phonenumbers.parse(text[span.start : span.end], None)
    assert number.country_code == 852
    assert phonenumbers.is_valid_number(number)


def test_spans_of_several_data_refer_to_the_new_text() -> None:
    text, spans = privacy.replace("张13800138000，证11010119900307803X，李139 1234 5678。", RECOGNISERS, KEY)
    assert [span.kind for span in spans] == ["mobile", "resident_id", "mobile"]
    assert [privacy.find_all(text[span.start : span.end])[0][0].kind for span in spans] == [span.kind for span in spans]


def test_a_masked_message_names_the_kind_only() -> None:
    assert privacy.mask("打13800138000，证11010119900307803X") == "打[mobile]，证[resident_id]"


def test_spellings_of_one_caller_have_one_hash_and_kinds_do_not_meet() -> None:
    spellings = ("13800138000", "+86 138-0013-8000", "１３８００１３８０００")
    hashes = {privacy.keyed_hash(spelling, "caller", KEY) for spelling in spellings}
    assert len(hashes) == 1
    assert privacy.keyed_hash("13800138000", "call", KEY) not in hashes
    assert privacy.keyed_hash("13800138000", "caller", b"another") not in hashes
