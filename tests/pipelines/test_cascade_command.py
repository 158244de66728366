"""Small and large together, from two recipes to a verdict: registered once, judged as a whole, both parts counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from data.store import open_snapshot
from evaluation import answers, report
from evaluation.gate import judge
from evaluation.verify_version import verify_version
from hotline import families, registry
from hotline.errors import InputError, RefusedError, UnknownName
from hotline.families import cascade
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK
from pipelines.cascade import register
from pipelines.cli import app
from training.fit import train
from training.recipe import load

WRITER = {
    "name": "labels",
    "task": TASK.name,
    "family": "writer",
    "seed": 3,
    "data": {"where": {"channel": ["微信"]}},
    "model": {"architecture": "scratch", "width": 32, "layers": 1, "heads": 1, "vocabulary": 600}
    | {"max_tokens": 256, "max_answer_tokens": 16},
    "optimiser": {"learning_rate": 5e-3},
    "trainer": {"max_epochs": 1, "batch_rows": 32},
}


@pytest.fixture(scope="module")
def site(copied: Callable[[Path], Settings], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return copied(tmp_path_factory.mktemp("cascade") / "site")


@pytest.fixture(scope="module")
def writer(site: Settings) -> ModelAddress:
    """A writer that was taught the same task for a moment; what it says is hardly ever a label."""
    path = site.recipes / "labels.yaml"
    path.write_text(yaml.safe_dump(WRITER), encoding="utf-8")
    address = train(site, load(path))
    assert address is not None
    return address


def named(address: ModelAddress) -> str:
    return f"{address.line}@{address.version}"


@pytest.fixture
def easy() -> Task:
    return replace(TASK, bars={"demo": tuple(replace(b, at_least=0.1) for b in TASK.bars["demo"] if b.at_least)})


def test_two_versions_become_one_candidate_that_is_judged_as_a_whole(
    site: Settings, candidate: ModelAddress, writer: ModelAddress, easy: Task
) -> None:
    here = site
    made = register(here, named(candidate), named(writer), 0.5)
    assert register(here, named(candidate), named(writer), 0.5) == made
    assert register(here, named(candidate), named(writer), 0.6).digest != made.digest
    assert {name.partition("/")[0] for name in made.files} == {"small", "large", "cascade.json", "lineage.json"}
    _, verdict = judge(here, easy, made, progress=False)
    rows = open_snapshot(here, TASK).rows("test")
    assert sum(verdict.parts.values()) == len(rows) and set(verdict.parts) <= {"small", "large", "small_after_large"}
    assert verdict.parts.get("small_after_large", 0) + verdict.parts.get("large", 0) > 0
    folder = here.verdicts / made.line / TASK.name
    metrics = json.loads((folder / report.METRICS_FILE).read_text())
    assert metrics["share_small"] == pytest.approx(verdict.parts["small"] / len(rows))
    kept = answers.read(folder / report.ANSWERS_FILE, TASK, rows.ids, ["candidate"])["candidate"]
    family, model = families.load(here.verified / made.digest, TASK)
    said = families.answer(family, model, rows.inputs[:64])
    assert [(each.target, each.answered_by) for each in said] == [(k.target, k.answered_by) for k in kept[:64]]
    lineage = verdict.evidence.lineage
    assert {role: part.digest for role, part in lineage.parts.items()} == {
        "small": candidate.digest,
        "large": writer.digest,
    }
    failed = [check for check in verify_version(here, made.line, made.version) if not check.ok]
    assert not failed


def test_a_writer_of_the_task_is_judged_as_a_version_of_its_own(
    site: Settings, writer: ModelAddress, easy: Task
) -> None:
    _, verdict = judge(site, easy, writer, progress=False)
    assert (verdict.outcome, verdict.parts, verdict.evidence.lineage.family) == ("failed", {}, "writer")


def test_a_share_of_validation_rows_sets_the_threshold(
    site: Settings, candidate: ModelAddress, writer: ModelAddress
) -> None:
    made = register(site, named(candidate), named(writer), name="share", share=0.1)
    family, model = families.load(registry.fetch(registry.connect(site.tracking_uri), made, site.verified), TASK)
    inputs = open_snapshot(site, TASK).rows("validation").inputs
    asked = [
        not cascade.is_sure(model, quick) for quick in families.answer(families.find("classifier"), model.small, inputs)
    ]
    assert family is families.find("cascade")
    assert 0.05 < sum(asked) / len(asked) <= 0.11
    with pytest.raises(InputError, match="one of a threshold and a share"):
        register(site, named(candidate), named(writer), 0.5, share=0.1)
    with pytest.raises(InputError, match="one of a threshold and a share"):
        register(site, named(candidate), named(writer))


def test_what_is_no_classifier_and_writer_of_one_task_is_refused(
    site: Settings, candidate: ModelAddress, writer: ModelAddress
) -> None:
    small, large = named(candidate), named(writer)
    with pytest.raises(RefusedError, match="no classifier"):
        register(site, large, small, 0.5, "other")
    with pytest.raises(RefusedError, match="no writer"):
        register(site, small, small, 0.5, "other")
    with pytest.raises(InputError, match="cannot have that name"):
        register(site, small, large, 0.5, candidate.line)
    with pytest.raises(InputError, match="probability"):
        register(site, small, large, 1.5)
    with pytest.raises(InputError, match="made of versions"):
        register(site, "tickets", large, 0.5)
    with pytest.raises(UnknownName):
        register(site, small, "labels@99", 0.5)


def test_the_command_registers_and_names_what_comes_next(
    site: Settings, candidate: ModelAddress, writer: ModelAddress
) -> None:
    command = ["--workspace", str(site.workspace), "cascade", named(candidate), named(writer)]
    done = CliRunner().invoke(app, [*command, "--threshold", "0.8", "--name", "both"])
    assert done.exit_code == 0, done.output
    assert "both@1" in done.output and "hotline judge both@1" in done.output
    tasks, address = registry.address(registry.connect(site.tracking_uri), "both", "1")
    assert tasks == [TASK.name] and "cascade.json" in address.files
