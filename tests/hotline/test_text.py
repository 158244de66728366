"""Transcripts are written as the policy says, nothing said is lost, and texts under one digest were written alike."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotline import digests, numerals, policy, text
from hotline.text import AS_IS, SCORED, TextPolicy, normalise, present, scored, scored_words

spoken_texts = st.text(
    st.sampled_from("零一二三四五六七八九十百千万亿点两半个年月号楼元我要投诉嘅喺係個萬，。ab 3%"), max_size=20
)
any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
few = settings(max_examples=60, deadline=None)


def written(said: str, **rules: bool) -> str:
    return numerals.written(said, **rules)


def test_tickets_are_still_matched_in_the_spelling_that_they_were() -> None:
    assert text.VERSION == 1
    assert normalise("　Ｈello World，路燈 壞了 ") == "hello world,路燈壞了"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("二零二六年", "2026年"),
        ("一百二十三", "123"),
        ("三点五", "3.5"),
        ("百分之三十", "30%"),
        ("请打幺三八零零一三八零零零", "请打13800138000"),
        ("電話二三四五六七八九", "電話23456789"),
        ("第二十三条", "第23条"),
        ("我有一个问题", "我有一个问题"),
    ],
)
def test_numbers_that_are_said_are_written_in_digits(said: str, expected: str) -> None:
    assert written(said) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("一年后", "1年后"),
        ("两年后", "2年后"),
        ("负二", "-2"),
        ("一千克", "1kg"),
        ("零", "0"),
        ("来了一百一个", "来了100 1个"),
    ],
)
def test_zero_to_nine_are_written_when_asked_for(said: str, expected: str) -> None:
    assert written(said, lone_digits=True) == expected


def test_a_number_that_counts_nothing_stays_in_words_when_asked_for() -> None:
    assert written("五十五,五十五个,打一二三四五", lone_numbers=False) == "五十五,55个,打12345"


@pytest.mark.parametrize(
    "said", ["十分感谢", "我十分满意", "在十字路口", "十一黄金周", "十有八九", "五點三個字", "这是零百", "千万不要"]
)
def test_words_made_of_numerals_are_no_numbers(said: str) -> None:
    assert written(said) == said


@pytest.mark.parametrize(
    ("said", "expected"),
    [("兩萬三千個", "23000個"), ("三點五", "3.5"), ("廿三號", "23號"), ("關係，三百個", "關係，300個")],
)
def test_traditional_text_stays_traditional_around_its_numbers(said: str, expected: str) -> None:
    assert written(said) == expected


def test_quotation_marks_and_blanks_around_numbers_stay() -> None:
    assert written(' 他说"三百"个\\\n') == ' 他说"300"个\\\n'
    assert numerals.spoken(' 他说"300"个\\\n') == ' 他说"三百"个\\\n'


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        ("2026年，30%", "二零二六年，百分之三十"),
        ("查处４５０余名", "查处四百五十余名"),
        ("电话13800138000，22：58打", "电话幺三八零零幺三八零零零，二十二点五十八分打"),
        ("open at 5 pm", "open at five PM"),
        ("没有数字", "没有数字"),
    ],
)
def test_digits_are_read_out(read: str, expected: str) -> None:
    assert numerals.spoken(read) == expected


@few
@given(spoken_texts)
def test_nothing_said_is_lost_on_the_way_to_digits(said: str) -> None:
    def rest(of: str) -> list[str]:
        return [character for character in of if character in "我要投诉嘅喺係，。ab"]

    for lone in (False, True):
        assert rest(written(said, lone_digits=lone)) == rest(said)


@few
@given(any_text)
def test_no_text_breaks_a_rule(said: str) -> None:
    for rules in (SCORED, TextPolicy(digits="written", script="traditional", fillers="dropped", spelling="half width")):
        assert isinstance(present(said, rules), str)
    assert bool(written(said).strip()) == bool(said.strip())


@given(any_text)
def test_the_policy_of_a_site_that_says_nothing_changes_nothing(said: str) -> None:
    assert present(said, AS_IS) == said


def test_a_site_chooses_script_and_digits_in_its_reviewed_policy() -> None:
    site = policy.SitePolicy.model_validate(
        {"schema_version": 1, "site": "a", "profile": "demo", "text": {"script": "traditional", "digits": "written"}}
    )
    assert present("关系到三百人", site.text) == "關係到300人"
    plain = policy.SitePolicy(schema_version=1, site="a", profile="demo")
    assert plain.text == AS_IS and plain.digest != site.digest


def test_the_digest_is_of_everything_that_changes_a_text() -> None:
    digests = [TextPolicy().digest, TextPolicy(script="simplified").digest, TextPolicy(digits="written").digest]
    assert len(set(digests)) == 3
    assert TextPolicy(script="simplified").digest == digests[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("路燈壞了。", "路灯坏了"),
        ("Ｈｅｌｌｏ，　World!", "hello world"),
        ("don't", "dont"),
        ("到2026年有30%", "到二零二六年有百分之三十"),
        ("打13800138000", "打一三八零零一三八零零零"),
        ("3.5公里", "三点五公里"),
    ],
)
def test_spellings_of_the_same_words_are_scored_the_same(one: str, other: str) -> None:
    assert scored(one) == scored(other)


def test_what_was_said_differently_is_scored_differently() -> None:
    assert scored("三点五") != scored("三十五")
    assert scored("嗯好") != scored("好")


@few
@given(spoken_texts)
def test_scoring_a_scored_text_changes_nothing(said: str) -> None:
    once = scored(said)
    assert scored(once) == once
    assert present(said, SCORED) == once == scored_words(said).replace(" ", "")


def test_fillers_are_dropped_when_asked_for_and_cantonese_not_stays() -> None:
    dropped = TextPolicy(fillers="dropped")
    assert present("嗯我呃唔知道", dropped) == "我唔知道"
    assert present("um, I uh know the umbrella", dropped) == "I know the umbrella"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("这儿有只鸟儿", "这有只鸟"),
        ("花兒開了一會兒", "花開了一會"),
        ("女儿和儿童在哪儿", "女儿和儿童在哪"),
        ("我儿子喜欢这地儿", "我儿子喜欢这地"),
        ("婴儿车在托儿所门口儿", "婴儿车在托儿所门口"),
        ("儿不嫌母丑", "儿不嫌母丑"),
    ],
)
def test_erhua_goes_when_asked_for_and_children_stay(said: str, expected: str) -> None:
    assert present(said, TextPolicy(erhua="dropped")) == expected
    assert present(said, TextPolicy()) == said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("佢哋嘅嘢喺邊度", "他們的東西在哪裏"),
        ("我唔知道點解冇人嚟睇", "我不知道為什麼沒有人來看"),
        ("呢個關係到我哋，係唔係", "這個關係到我們，是不是"),
        ("有冇人", "有沒有人"),
        ("普通话照旧", "普通话照旧"),
    ],
)
def test_spoken_cantonese_is_written_in_standard_chinese_when_asked_for(said: str, expected: str) -> None:
    assert present(said, TextPolicy(cantonese="written")) == expected
    assert present(said, TextPolicy()) == said


def test_written_cantonese_takes_the_script_of_the_policy() -> None:
    assert present("佢哋冇嚟", TextPolicy(cantonese="written", script="simplified")) == "他们没有来"


def test_rules_that_came_later_change_no_digest_until_they_are_asked_for() -> None:
    def dumped(**rules: str) -> set[str]:
        return set(TextPolicy.model_validate(rules).model_dump(mode="json"))

    assert {"erhua", "cantonese"}.isdisjoint(dumped(script="simplified"))
    assert "erhua" in dumped(erhua="dropped") and "cantonese" in dumped(cantonese="written")
    rules = (TextPolicy(), TextPolicy(erhua="dropped"), TextPolicy(cantonese="written"))
    assert len({each.digest for each in rules}) == 3
    assert TextPolicy.model_validate(rules[1].model_dump()) == rules[1]
    # digests in ledgers of before: policy, rules, data and Unicode of version 1
    old = {name: value for name, value in vars(AS_IS).items() if name not in ("erhua", "cantonese")}
    content = {"rules": 1, "policy": old, "data": digests.of_file(text.DATA_FILE)}
    assert AS_IS.digest == digests.of_value({**content, "unicode": unicodedata.unidata_version, "libraries": {}})


def test_the_libraries_are_loaded_when_they_are_needed() -> None:
    code = "import sys, hotline.tasks; print([n for n in ('wetext', 'opencc', 'rapidfuzz') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
