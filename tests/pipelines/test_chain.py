"""The whole chain on real parts: SQLite MLflow, signed ledger, live Ray Serve, and a table through the endpoint."""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import openpyxl
import pytest

from data.store import open_snapshot
from hotline import families, registry, requests
from hotline.ledger import Ledger
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.tasks import find
from pipelines import baselines
from pipelines.predict import predict_table
from pipelines.trace import trace
from serving.watch.drift import read_reference, reference_path

TASK = find("ticket_category")


@pytest.fixture(scope="module")
def url(workspace: Settings, champion: ModelAddress) -> Iterator[str]:
    """The champion, served."""
    from serving.run import start

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = start(workspace, port)
    yield running.url
    running.stop()


def test_served_answers_equal_the_judged_model_on_the_test_split(
    workspace: Settings, champion: ModelAddress, url: str
) -> None:
    rows = open_snapshot(workspace, TASK).rows("test")
    family = families.find(TASK.family)
    folder = registry.fetch(registry.connect(workspace.tracking_uri), champion, workspace.verified)
    inputs = rows.inputs[:40]
    expected = families.answer(family, family.load(folder, TASK), inputs)
    for given, answer in zip(inputs, expected, strict=True):
        body = httpx.post(f"{url}/v1/tasks/{TASK.name}", json=given.model_dump(), timeout=30).json()
        assert body["answer"] == answer.target.model_dump()
        assert body["confidence"] == pytest.approx(answer.confidence, abs=1e-5)


def test_an_answer_is_traced_to_model_verdict_run_recipe_and_label_batches(
    workspace: Settings, champion: ModelAddress, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTLINE_WORKSPACE", str(workspace.workspace))
    learnt = open_snapshot(workspace, TASK).rows("train").inputs[0].model_dump()["text"]
    reply = httpx.post(f"{url}/v1/tasks/{TASK.name}", json={"text": learnt}, timeout=30)
    assert trace(reply.headers["x-request-id"])["nearest training rows"] is None
    found = trace(reply.headers["x-request-id"], learnt)
    assert found["digest"] == champion.digest == reply.headers["x-model-digest"]
    assert found["run"] == champion.run_id
    assert found["snapshot"] == open_snapshot(workspace, TASK).digest
    assert (found["sources"], found["label batches"]) == ("tickets.xlsx", "demo")
    assert requests.parse(reply.headers["x-request-id"]).task == TASK.name
    assert found["nearest training rows"][0]["likeness"] == pytest.approx(1, abs=1e-3)


def test_a_champion_has_a_reference_that_serving_tells_drift_by(workspace: Settings, champion: ModelAddress) -> None:
    made, path = baselines.make(workspace, TASK, champion)
    assert path == reference_path(workspace.state, TASK.name, champion.digest)
    assert read_reference(path) == made
    assert {signal.name for signal in made.signals} == {"text", "length", "answer", "confidence"}
    assert made.snapshot == open_snapshot(workspace, TASK).digest


def test_a_whole_spreadsheet_is_answered_and_no_row_is_lost(url: str, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in (["编号", "内容"], ["1", "路灯不亮"], ["2", ""], ["3", "垃圾没人清运，味道很大"]):
        book.active.append(line)  # type: ignore[union-attr]
    book.save(tmp_path / "messages.xlsx")
    report = predict_table(TASK.name, tmp_path / "messages.xlsx", ["内容"], url=url)
    with Path(report["output"]).open(encoding="utf-8-sig") as stream:
        answered = list(csv.DictReader(stream))
    assert (report["rows"], report["answered"], report["refused"]) == (3, 2, 1)
    assert [row["编号"] for row in answered] == ["1", "2", "3"]
    assert all(0 < float(answered[number]["hotline_confidence"]) <= 1 for number in (0, 2))
    assert answered[1]["hotline_error"]


def test_the_model_in_the_store_holds_no_pickle(workspace: Settings, champion: ModelAddress) -> None:
    assert {Path(name).suffix for name in champion.files} == {".json", ".safetensors"}


def test_the_run_has_parameters_scores_system_metrics_and_the_four_digests(
    workspace: Settings, champion: ModelAddress
) -> None:
    run = registry.connect(workspace.tracking_uri).get_run(champion.run_id)
    assert run.data.params["trainer.batch_rows"]
    assert run.data.metrics["validation/macro_f1"] > 0.5
    assert any(name.startswith("system/") for name in run.data.metrics)
    assert {f"digest.{name}" for name in ("snapshot", "recipe", "code", "base")} <= set(run.data.tags)


def test_training_the_same_recipe_again_makes_the_same_version(workspace: Settings, candidate: ModelAddress) -> None:
    from training.fit import train
    from training.recipe import load

    again = train(workspace, load(workspace.recipes / "tickets.yaml"))
    assert (again.digest, again.version) == (candidate.digest, candidate.version)


def test_the_champion_is_in_ledger_lock_file_and_alias(workspace: Settings, champion: ModelAddress) -> None:
    from evaluation.verify import verify

    recorded = Ledger.of(workspace).read().champion(TASK.name)
    assert recorded is not None
    assert recorded.record.model == champion
    assert champion.digest in workspace.champions_lock.read_text()
    assert all(check.ok for check in verify(workspace))
