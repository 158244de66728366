"""Titles of tickets through import, training, gate and endpoint, on rows made here."""

from __future__ import annotations

import csv
import itertools
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from data.ingest import import_table
from data.mapping import load as load_mapping
from data.store import open_snapshot
from evaluation.gate import judge
from evaluation.promote import promote
from hotline import families, registry
from hotline.ledger import Ledger
from hotline.records import ModelAddress, Verdict
from hotline.settings import Settings
from hotline.tasks import find
from pipelines import workspace as workspaces
from training.fit import train
from training.recipe import load

pytestmark = pytest.mark.slow  # it trains until the gate lets it through

TASK = find("ticket_summary")
PLACES = [f"{one}{kind}" for one in "东西南北中建和永文长新兴光景德青春" for kind in ("街", "路", "巷", "花园")]
MATTERS = ["路灯不亮", "井盖丢失", "垃圾没人清运", "施工噪音扰民", "电梯停运", "污水外溢"]
WORDS = (
    "您好，{place}{matter}，请处理。",
    "我住{place}，这里{matter}，没人管。",
    "反映一下：{place}的{matter}问题，谢谢。",
)
RECIPE = {
    "name": "titles",
    "task": "ticket_summary",
    "seed": 3,
    "model": {
        "architecture": "scratch",
        "width": 64,
        "layers": 2,
        "heads": 2,
        "vocabulary": 400,
        "max_tokens": 96,
        "max_answer_tokens": 24,
    },
    "optimiser": {"learning_rate": 5e-3, "betas": [0.9, 0.98], "gradient_clip": 1.0},
    "trainer": {"max_epochs": 14, "batch_rows": 16, "accelerator": "cpu"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace with 408 titled tickets."""
    here = workspaces.create(tmp_path_factory.mktemp("titles"), "demo", "demo", demo_keys=True)
    source = here.workspace / "titles.csv"
    with source.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["工单号", "诉求内容", "标题", "来电人", "区域", "渠道"])
        for number, (place, matter) in enumerate(itertools.product(PLACES, MATTERS)):
            text = WORDS[number % len(WORDS)].format(place=place, matter=matter)
            table.writerow([f"T{number}", text, f"{place}{matter}", f"caller {number}", "云泽区", "电话"])
        table.writerow(["T900", "没有标题的工单", "", "caller 900", "云泽区", "电话"])
    import_table(here, TASK, load_mapping(here.workspace / "data" / "mappings" / "ticket_titles.yaml"), [source])
    (here.recipes / "titles.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    return here


@pytest.fixture(scope="module")
def version(site: Settings) -> ModelAddress:
    address = train(site, load(site.recipes / "titles.yaml"))
    assert address is not None
    return address


@pytest.fixture(scope="module")
def verdict(site: Settings, version: ModelAddress) -> Verdict:
    """The gate's, on which the version was promoted."""
    _, found = judge(site, TASK, version)
    promote(site, TASK, version, "for the test")
    return found


@pytest.fixture(scope="module")
def url(site: Settings, verdict: Verdict) -> Iterator[str]:
    """The champion, served."""
    from serving.run import start

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = start(site, port)
    yield running.url
    running.stop()


def test_a_ticket_without_a_title_is_quarantined_with_its_reason(site: Settings) -> None:
    [kept] = site.quarantine.rglob("*.jsonl")
    [line] = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert "target.text" in json.dumps(line, ensure_ascii=False)
    assert sum(len(open_snapshot(site, TASK).rows(split)) for split in ("train", "validation", "test")) == 408


def test_a_writer_from_scratch_passes_the_gate_and_becomes_champion(
    site: Settings, version: ModelAddress, verdict: Verdict
) -> None:
    found = {figure.score: figure.estimate for figure in verdict.figures if figure.slice is None}
    assert found["rouge_l"] is not None and found["rouge_l"] > 0.8
    assert verdict.outcome == "passed", [finding.reason for finding in verdict.findings]
    champion = Ledger.of(site).read().champion(TASK.name)
    assert champion is not None and champion.record.model == version


def test_the_registered_version_answers_what_was_validated(site: Settings, version: ModelAddress) -> None:
    folder = registry.fetch(registry.connect(site.tracking_uri), version, site.verified)
    family, rows = families.find("writer"), open_snapshot(site, TASK).rows("validation")
    answers = families.answer(family, family.load(folder, TASK), rows.inputs)
    metrics = json.loads((site.models / "titles" / "metrics.json").read_text())
    assert TASK.scores["rouge_l"](rows.targets, answers) == pytest.approx(metrics["validation/rouge_l"], abs=1e-4)
    assert {Path(name).suffix for name in version.files} == {".json", ".safetensors", ".jinja"}


def test_the_route_writes_the_titles_of_the_judged_model_with_their_provenance(
    site: Settings, version: ModelAddress, url: str
) -> None:
    folder = registry.fetch(registry.connect(site.tracking_uri), version, site.verified)
    family, rows = families.find("writer"), open_snapshot(site, TASK).rows("test")
    inputs = [*rows.inputs[:6], TASK.input.model_validate({"text": "门口的路灯坏了三天，请尽快派人维修。"})]
    for given, expected in zip(inputs, families.answer(family, family.load(folder, TASK), inputs), strict=True):
        reply = httpx.post(f"{url}/v1/tasks/{TASK.name}", json=given.model_dump(), timeout=60)
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert body["answer"] == expected.target.model_dump()
        assert body["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
        assert body["provenance"]["digest"] == version.digest == reply.headers["x-model-digest"]


def test_an_empty_ticket_has_no_title_and_a_task_without_champion_says_so(url: str) -> None:
    assert httpx.post(f"{url}/v1/tasks/{TASK.name}", json={"text": ""}, timeout=60).status_code == 422
    asked = {"document": "六十日内办理。", "question": "多久以内？"}
    reply = httpx.post(f"{url}/v1/tasks/article_answer", json=asked, timeout=60)
    assert reply.status_code not in (200, 404)
    assert reply.json()["error"]["next"]
