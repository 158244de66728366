"""A corpus so small that a run takes seconds."""

from __future__ import annotations

import csv
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from data import calls, synthetic
from data.ingest import import_table
from data.mapping import load as load_mapping
from data.store import Rows
from hotline.labels import LabelTree
from hotline.settings import Settings
from hotline.tasks import find
from pipelines import workspace as workspaces
from training.recipe import Recipe, parse

TASK = find("ticket_category")
RANKS = Path(__file__).parent / "forked_ranks.py"
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


CLASSIFIER = {
    "name": "classifier",
    "task": "ticket_category",
    "seed": 5,
    "model": {"encoder": "ngrams", "width": 16, "bucket_bits": 16},
    "optimiser": {"learning_rate": 5e-3, "gradient_clip": 1.0},
    "trainer": {"max_epochs": 3, "budget": 600, "accumulate": 2, "devices": 2, "deepspeed": "../deepspeed/zero1.json"},
}
TRANSCRIBER = {
    "name": "transcriber",
    "task": "transcription",
    "also": ["dialect_identification"],
    "seed": 1,
    "model": {"architecture": "ctc", "width": 32, "layers": 1, "heads": 2, "stem_channels": 8, "subsampling": 8},
    "optimiser": {"learning_rate": 1e-3},
    "trainer": {"max_epochs": 3, "budget": 1200, "devices": 2, "deepspeed": "../deepspeed/zero1.json"},
}

WRITER = {
    "name": "writer",
    "task": "ticket_summary",
    "seed": 3,
    "model": {"architecture": "scratch", "width": 32, "layers": 1, "heads": 2, "vocabulary": 300, "max_tokens": 96}
    | {"max_answer_tokens": 8},
    "optimiser": {"learning_rate": 3e-3, "gradient_clip": 1.0},
    "trainer": {"max_epochs": 3, "budget": 500, "packing": True, "devices": 2, "deepspeed": "../deepspeed/zero1.json"},
}
RECIPES: dict[str, dict[str, Any]] = {"classifier": CLASSIFIER, "transcriber": TRANSCRIBER, "writer": WRITER}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace with two minutes of generated calls, a few hundred tickets and as many titles."""
    here = workspaces.create(tmp_path_factory.mktemp("training"), "demo", "demo", demo_keys=True)
    folder = here.workspace / "data" / "incoming" / "calls"
    calls.generate(folder, 0.04, 3)
    import_table(here, find("transcription"), load_mapping(here.workspace / "data/mappings/calls.yaml"), [folder])
    table = here.workspace / "data" / "incoming" / "tickets.xlsx"
    synthetic.write_xlsx(table, 400, 11)
    import_table(here, TASK, load_mapping(here.workspace / "data/mappings/tickets.yaml"), [table])
    titles = here.workspace / "data" / "incoming" / "titles.csv"
    write_titles(titles)
    import_table(
        here, find("ticket_summary"), load_mapping(here.workspace / "data/mappings/ticket_titles.yaml"), [titles]
    )
    return here


def write_titles(path: Path) -> None:
    """512 tickets with titles."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["工单号", "诉求内容", "标题", "来电人", "区域", "渠道"])
        streets = [f"{one}{other}路" for one in "东南西北中建和永" for other in "安平福兴"]
        for number, (street, matter) in enumerate(itertools.product(streets, itertools.chain(*SAID.values()))):
            text = f"您好，{street}{matter}，请处理。" + "谢谢。" * (number % 5)
            table.writerow([f"T{number}", text, f"{street}{matter}", f"caller {number}", "云泽区", "电话"])


@pytest.fixture(scope="session")
def written(site: Settings) -> Callable[..., str]:
    """Writes a family's recipe under a name, with other trainer settings; gives the name."""

    def write(family: str, name: str, **trainer: Any) -> str:
        content = RECIPES[family]
        changed = {**content, "name": name, "trainer": {**content["trainer"], "log_steps": 1, **trainer}}
        (site.recipes / f"{name}.yaml").write_text(yaml.safe_dump(changed), encoding="utf-8")
        return name

    return write


class ForkedRanks:
    """A process that has imported everything once and forks the ranks of a run, as a cluster would start them."""

    def __init__(self) -> None:
        environment = {**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(RANKS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def run(self, site: Settings, recipe: str, **options: Any) -> dict[str, Any]:
        """Train with `ranks`, `resume`, `anyway`; `signal` is sent to every rank (or `to` one) after `at` steps.

        Gives every rank's exit status and what it wrote.
        """
        assert self.process.stdin and self.process.stdout
        told = {"workspace": str(site.workspace), "recipe": recipe, "ranks": 2, **options}
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


@pytest.fixture(scope="session")
def ranks() -> Iterator[ForkedRanks]:
    forked = ForkedRanks()
    yield forked
    assert forked.process.stdin
    forked.process.stdin.close()
    forked.process.wait()
