"""Drift: requests of the reference's distribution raise no alarm, another mix of dialects or a new topic soon does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from data.synthetic import generate
from hotline import drift
from hotline.audio import tone
from hotline.drift import Reference
from hotline.errors import InputError
from hotline.tasks import find

TASK = find("ticket_category")
REQUESTS, EXPECTED = 1000, 10_000
PLACES = ("东街", "西巷口", "人民路", "锦绣花园", "香江公寓", "云泽小区", "望潮桥头", "临岚车站")
TOPICS = {
    "城市管理": ("路灯不亮", "井盖丢了", "占道经营", "墙上乱贴小广告", "垃圾没人清运"),
    "交通出行": ("公交晚点", "红绿灯太短", "有车乱停", "修路不设围挡"),
    "住房物业": ("电梯坏了", "物业乱收费", "屋顶漏水", "消防通道被占"),
    "生态环境": ("半夜施工噪音大", "河里有臭味", "烧烤油烟"),
    "教育": ("学校食堂不干净", "补课收费", "幼儿园报名"),
}
NEW = {"疫苗": ("疫苗预约不上", "接种点没人", "接种证明打不开", "疫苗断货")}
ENDINGS = {
    "cmn": ("，请尽快处理。", "，三天没人管。", "，麻烦派人看看。"),
    "yue": ("，唔該快啲搞掂佢。", "，成日都冇人理㗎。", "，幾時先有得整呀？"),
    "sichuan": ("，搞快点嘛。", "，简直莫得人管哦。", "，好久弄得好嘛？"),
}
USUAL = {"cmn": 0.7, "yue": 0.2, "sichuan": 0.1}
Seen = dict[str, list[Any]]


def requests(
    number: int,
    seed: int,
    dialects: Mapping[str, float] = USUAL,
    new: float = 0.0,
) -> Seen:
    """The signals of so many tickets, answered by a model that is right and about 0.8 sure."""
    draw, confidence = random.Random(seed), np.random.default_rng(seed).beta(8, 2, number)
    seen: Seen = {"text": [], "length": [], "answer": [], "dialect": [], "confidence": confidence.tolist()}
    for tag in draw.choices(list(dialects), list(dialects.values()), k=number):
        topics = NEW if draw.random() < new else TOPICS
        topic = draw.choice(list(topics))
        text = draw.choice(PLACES) + "，" + draw.choice(topics[topic]) + draw.choice(ENDINGS[tag])
        seen["text"].append(text)
        seen["length"].append(float(len(text)))
        seen["answer"].append(topic if topic in TOPICS else draw.choice(list(TOPICS)))
        seen["dialect"].append(tag)
    return seen


@cache
def reference() -> Reference:
    return drift.refer(TASK.name, "a" * 64, "b" * 64, requests(4000, seed=100))


def alarms(seen: Mapping[str, Sequence[Any]], known: Reference) -> list[str]:
    """The signals that were flagged, window by window."""
    found = []
    for signal in known.signals:
        spread = signal.spread(seen[signal.name])
        windows = spread[: len(spread) // known.window * known.window].reshape(-1, known.window, len(signal.shares))
        flagged = [drift.find(signal, window.mean(0), known.window).flagged for window in windows]
        found += [signal.name] * sum(flagged)
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_thousand_requests_of_the_training_distribution_raise_no_alarm(seed: int) -> None:
    assert alarms(requests(EXPECTED, seed), reference()) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_shifted_mix_of_dialects_is_flagged_within_a_thousand_requests(seed: int) -> None:
    shifted = requests(REQUESTS, seed, {"cmn": 0.5, "yue": 0.4, "sichuan": 0.1})
    assert {"dialect", "text"} <= set(alarms(shifted, reference()))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_new_topic_is_flagged_by_its_words_within_a_thousand_requests(seed: int) -> None:
    assert "text" in alarms(requests(REQUESTS, seed, new=0.15), reference())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_version_that_has_become_unsure_is_flagged(seed: int) -> None:
    unsure = requests(REQUESTS, seed) | {"confidence": np.random.default_rng(seed).beta(7, 3, REQUESTS).tolist()}
    assert set(alarms(unsure, reference())) == {"confidence"}


def test_a_flag_names_what_moved() -> None:
    (dialect,) = [signal for signal in reference().signals if signal.name == "dialect"]
    seen = requests(REQUESTS, 1, {"cmn": 0.5, "yue": 0.4, "sichuan": 0.1})
    found = drift.find(dialect, dialect.spread(seen["dialect"]).mean(0), REQUESTS)
    assert {name for name, _, _ in found.moved[:2]} == {"cmn", "yue"}
    assert found.psi > 0.1


def test_a_dialect_that_the_reference_never_had_is_counted_as_other() -> None:
    (dialect,) = [signal for signal in reference().signals if signal.name == "dialect"]
    assert dialect.spread(["wuu"])[0].tolist() == [0, 0, 0, 1]


def test_what_never_varies_is_not_flagged_by_rounding() -> None:
    seen = requests(4000, seed=1) | {"confidence": [1.0] * 4000}
    known = drift.refer(TASK.name, "a" * 64, "b" * 64, seen)
    assert "confidence" not in alarms(requests(REQUESTS, seed=2) | {"confidence": [1.0] * REQUESTS}, known)


def test_what_is_watched_of_recordings_is_their_length_their_words_and_their_dialect() -> None:
    for name, said in (
        ("transcription", {"text": "路灯", "dialect": "yue"}),
        ("dialect_identification", {"label": "yue"}),
    ):
        task = find(name)
        asked = drift.asked_of(task, task.input.model_validate({"audio": tone(2.0)}))
        assert asked == {"length": 2.0}
        told = drift.said_of(task, said, 0.5)
        assert told["dialect"] == "yue"
        assert told.get("text") == said.get("text")


def test_few_rows_are_no_reference() -> None:
    with pytest.raises(InputError, match="too few rows"):
        drift.refer(TASK.name, "a" * 64, "b" * 64, requests(100, seed=1))


def test_a_reference_holds_no_text_of_anybody() -> None:
    content = reference().model_dump_json()
    assert not any(word in content for word in ("路灯", "东街", "唔該"))


def test_divergence_is_nothing_for_the_same_and_one_bit_for_the_disjoint() -> None:
    assert drift.divergence(np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.5, 0.0])) == 0
    assert drift.divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)


@pytest.mark.slow
def test_tickets_of_the_demo_raise_no_alarm_and_a_region_that_doubles_does() -> None:
    def seen(some: Sequence[Mapping[str, str]]) -> Seen:
        asked = [drift.asked_of(TASK, TASK.input.model_validate({"text": each["诉求内容"]})) for each in some]
        return {name: [each[name] for each in asked] for name in asked[0]}

    tickets = [ticket for ticket in generate(16_000, 7) if ticket["诉求内容"]]
    known = drift.refer(TASK.name, "a" * 64, "b" * 64, seen(tickets[:5000]))
    rest = tickets[5000:]
    assert alarms(seen(rest[:EXPECTED]), known) == []
    cantonese = [ticket for ticket in rest if ticket["区域"] == "香江区"]
    assert "text" in alarms(seen(random.Random(1).sample(cantonese[:400] + rest[:600], REQUESTS)), known)
