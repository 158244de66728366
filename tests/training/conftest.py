"""A corpus so small that a run takes seconds."""

from __future__ import annotations

from typing import Any

import pytest

from data.store import Rows
from hotline.labels import LabelTree
from hotline.tasks import find
from training.recipe import Recipe, parse

TASK = find("ticket_category")
LEAVES = ("城建/路灯", "城建/道路", "环保/噪声", "环保/污水")
SAID = {
    "城建/路灯": ("路灯不亮", "灯杆倒了", "夜里没有灯", "路灯一直闪"),
    "城建/道路": ("路面坑洼", "井盖破损", "道路塌陷", "人行道积水"),
    "环保/噪声": ("夜间施工吵", "广场舞太响", "喇叭扰民", "音响吵得睡不着"),
    "环保/污水": ("污水横流", "下水道堵了", "河水发臭", "污水倒灌"),
}


@pytest.fixture(scope="session")
def tickets() -> tuple[LabelTree, Rows]:
    """64 tickets of four kinds, of different lengths."""
    pairs = [
        (f"{place}{'街' * times}{said}", leaf)
        for times, place in enumerate("东西南北")
        for leaf, phrases in SAID.items()
        for said in phrases
    ]
    inputs = [TASK.input.model_validate({"text": text}) for text, _ in pairs]
    targets = [TASK.target.model_validate({"label": leaf}) for _, leaf in pairs]
    blank = [""] * len(pairs)
    return LabelTree.of(LEAVES), Rows([f"t{n}" for n in range(len(pairs))], inputs, targets, {}, blank, blank)


def recipe(**trainer: Any) -> Recipe:
    """A tiny classifier's recipe without any randomness in its layers."""
    content = {
        "name": "tiny",
        "task": "ticket_category",
        "seed": 5,
        "model": {"encoder": "ngrams", "width": 16, "minimum_texts": 1, "bucket_bits": 16}
        | {"dropout": 0, "feature_dropout": 0},
        "optimiser": {"learning_rate": 5e-3, "gradient_clip": 0.05},
        "trainer": {"max_epochs": 2, **trainer},
    }
    return parse(content, "tiny.yaml")


@pytest.fixture(scope="session")
def tiny() -> Any:
    return recipe
