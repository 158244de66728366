"""The demo's calls: rich enough to be worth learning, small enough to learn, and never heard before in the test."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import soundfile

from data import calls
from data.call_summary import Summary, summary
from data.call_wordings import SPLITS, dialects, names
from data.calls import Clip
from data.voices import speech
from hotline.audio import TELEPHONE_HZ
from hotline.dialects import tags
from hotline.errors import UnavailableError

PLAN = calls.plan(2.0, 20260)
STOPS = "，。？,.?"


def of(split: str, dialect: str = "") -> list[Clip]:
    return [clip for clip in PLAN if clip.split == split and clip.dialect.startswith(dialect)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("calls")
    return folder, calls.generate(folder, 0.02, 7)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "calls.csv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def test_the_table_names_a_telephone_recording_for_every_row(made: tuple[Path, Summary]) -> None:
    folder, _ = made
    assert {row["file"] for row in rows(folder)} == {f"audio/{path.name}" for path in (folder / "audio").iterdir()}
    for row in rows(folder):
        sound = soundfile.info(folder / row["file"])
        assert (sound.samplerate, sound.channels, sound.subtype) == (TELEPHONE_HZ, 1, "PCM_16")
        assert 0.5 < sound.duration < 7


def test_the_same_seed_gives_the_same_bytes(made: tuple[Path, Summary], tmp_path: Path) -> None:
    calls.generate(tmp_path, 0.02, 7)
    for path in [made[0] / "calls.csv", *(made[0] / "audio").iterdir()]:
        assert (tmp_path / path.relative_to(made[0])).read_bytes() == path.read_bytes()


def test_more_hours_leave_the_held_out_clips_as_they_are() -> None:
    more = calls.plan(2.5, 20260)
    assert [clip for clip in more if clip.split != "train"] == [clip for clip in PLAN if clip.split != "train"]
    assert len(more) > len(PLAN)


def test_another_seed_says_something_else() -> None:
    assert not {clip.sentence.text for clip in calls.plan(0.02, 8)} <= {clip.sentence.text for clip in PLAN}


def test_the_summary_read_back_is_the_one_given_back(made: tuple[Path, Summary]) -> None:
    folder, told = made
    assert summary(folder) == told
    assert 0.015 < told.hours["train"] < 0.025
    assert told.test_sentences_seen == told.test_voices_seen == 0


def test_no_sentence_voice_caller_or_name_of_a_place_crosses_a_split() -> None:
    for one, other in ((one, other) for one in SPLITS for other in SPLITS if one < other):
        for of_clip in (lambda clip: clip.sentence.text, lambda clip: clip.voice.variant, lambda clip: clip.speaker):
            assert not set(map(of_clip, of(one))) & set(map(of_clip, of(other)))
        for dialect in dialects():
            assert not set(names(dialect, one)) & set(names(dialect, other))
            assert len(names(dialect, one)) >= 8


def test_the_test_split_is_large_and_has_many_callers_of_every_dialect() -> None:
    assert 500 <= len(of("test")) <= 700
    for dialect in dialects():
        assert dialect in tags()
        exactly = [clip for clip in of("test") if clip.dialect == dialect]
        assert len(exactly) >= 120 and len({clip.speaker for clip in exactly}) >= 20
        assert Counter(clip.channel for clip in exactly).keys() == {"landline", "mobile"}


def test_dialects_have_about_equal_shares() -> None:
    counts = Counter(clip.dialect for clip in PLAN)
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_the_vocabulary_is_modest_and_training_has_all_of_it() -> None:
    train, rest = (
        "".join(clip.sentence.text for clip in PLAN if (clip.split == "train") == side) for side in (True, False)
    )
    assert 220 <= len(set(re.findall("[㐀-鿿]", train))) <= 300
    assert set(rest) <= set(train)
    words = [
        {word for clip in of(split, "en") for word in re.findall("[a-z]+", clip.sentence.text.lower())}
        for split in SPLITS
    ]
    assert 100 <= len(words[0]) <= 150
    assert words[1] | words[2] <= words[0]


def test_cantonese_is_written_as_spoken_in_traditional_characters_and_sichuanese_as_said() -> None:
    cantonese = "".join(clip.sentence.text for clip in of("train", "yue"))
    assert set("嘅喺唔咗冇嚟啲邊") <= set(cantonese) and not set("这没电话证") & set(cantonese)
    sichuanese = "".join(clip.sentence.text for clip in of("train", "cmn-sichuan"))
    assert all(word in sichuanese for word in ("啥子", "晓得", "莫得", "巴适", "咋个", "要得"))


def test_entities_are_the_characters_they_name() -> None:
    seen = set()
    for clip in PLAN:
        for entity in clip.sentence.entities:
            words, named = dialects()[clip.dialect], clip.sentence.text[entity.start : entity.end]
            seen.add((clip.dialect, entity.kind))
            assert named == named.strip(STOPS + " ")
            if entity.kind == "department":
                assert named in words["office"]
            elif entity.kind == "number":
                assert set(named.split() if "space" in words else named) <= set(words["digits"])
            else:
                assert any(name in named for name in names(clip.dialect, clip.split))
    assert len(seen) == 3 * len(dialects())


def test_nothing_unfilled_is_left_and_every_sentence_is_punctuated() -> None:
    for clip in PLAN:
        assert not re.search(r"[<>()|]|  ", clip.sentence.text)
        assert clip.sentence.text[-1] in "。？.?"


@pytest.mark.parametrize("dialect", ["cmn", "cmn-sichuan", "yue-hongkong"])
def test_the_voice_says_a_syllable_for_every_character(dialect: str) -> None:
    for clip in [clip for clip in of("train") if clip.dialect == dialect][:150]:
        phonemes = speech().phonemes(clip.spoken, clip.voice.language)
        assert "(en)" not in phonemes
        assert len(re.findall(r"\d+", phonemes)) == sum(character not in STOPS for character in clip.sentence.text)


def test_a_held_out_sentence_comes_once_and_training_has_none_of_them() -> None:
    train = {clip.sentence.text for clip in PLAN if clip.split == "train"}
    held_out = [(clip.dialect, clip.sentence.text) for clip in PLAN if clip.split != "train"]
    assert len(set(held_out)) == len(held_out) and not {text for _, text in held_out} & train


@pytest.mark.parametrize("dialect", list(dialects()))
def test_training_hears_of_every_document_and_office_many_times(dialect: str) -> None:
    """Few sentences have one, and held-out clips must not use them up."""
    train = [clip.sentence.text for clip in PLAN if clip.split == "train" and clip.dialect == dialect]
    for named in (*dialects()[dialect]["doc"], *dialects()[dialect]["office"]):
        assert sum(named in text for text in train) >= 6


def test_digits_are_ten_words_in_many_voices(tmp_path: Path) -> None:
    told = calls.digits(tmp_path, 40, 3)
    assert Counter(row["text"] for row in rows(tmp_path)) == dict.fromkeys(dialects()["en"]["digits"], 4)
    assert told.voices == {"train": len({row["speaker"].split("-")[-3] for row in rows(tmp_path)})}
    assert told.voices["train"] > 10 and told.speakers["train"] > 30
    assert all(json.loads(row["entities"]) == [] and row["split"] == "train" for row in rows(tmp_path))


@pytest.mark.parametrize("missing", ["espeakng_loader", "pypinyin"])
def test_a_missing_package_is_told_before_anything_is_written(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UnavailableError, match=r"pip install 'hotline\[demo\]'"):
        calls.generate(tmp_path / "calls", 0.01, 1)
    assert not (tmp_path / "calls").exists()
