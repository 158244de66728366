"""`hotline verify LINE@VERSION` checks all about one version and names what was tampered with."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from evaluation import report
from evaluation.gate import judge
from evaluation.promote import promote
from evaluation.verify_version import verify_version
from hotline import registry
from hotline.errors import UnknownName
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK


def looked_at(settings: Settings, address: ModelAddress) -> dict[str, tuple[str, str]]:
    """Each check's mark and words."""
    checks = verify_version(settings, address.line, address.version)
    return {check.name.removeprefix(f"{TASK.name}: "): (check.mark, check.found) for check in checks}


def failed(settings: Settings, address: ModelAddress) -> list[str]:
    return [name for name, (mark, _) in looked_at(settings, address).items() if mark == "✗"]


def test_of_a_judged_version_everything_is_checked_and_each_edit_is_named(
    fresh: Settings, candidate: ModelAddress, easy: Task
) -> None:
    _, verdict = judge(fresh, easy, candidate)
    found = looked_at(fresh, candidate)
    assert {name: mark for name, (mark, _) in found.items() if mark != "✓"} == {}
    assert set(found) == {
        *("ledger", "policy", "bytes", "verdict", "lineage", "test rows", "answers", "approvals", "promotion"),
        "MLflow alias",
    }
    assert found["promotion"][1] == "never promoted"
    assert f"run {candidate.run_id}" in found["lineage"][1]

    folder = fresh.verdicts / candidate.line / TASK.name
    kept = (folder / report.ANSWERS_FILE).read_bytes()
    (folder / report.ANSWERS_FILE).write_bytes(kept[:-1] + b"X")
    assert failed(fresh, candidate) == ["answers"]
    (folder / report.ANSWERS_FILE).unlink()
    assert looked_at(fresh, candidate)["answers"][0] == "–"
    (folder / report.ANSWERS_FILE).write_bytes(kept)

    rows = fresh.corpora / TASK.name / "rows"
    for shard in rows.glob("*.parquet"):
        shard.chmod(0o644)
        shard.write_bytes(shard.read_bytes()[:-1] + b"X")
    assert failed(fresh, candidate) == ["test rows"]
    shutil.rmtree(fresh.corpora / TASK.name)
    assert looked_at(fresh, candidate)["test rows"] == (
        "–",
        f"snapshot {verdict.evidence.test_snapshot[:12]} is not here: dvc pull",
    )

    for weights in fresh.artifacts.rglob("model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    assert failed(fresh, candidate) == ["bytes"]


def test_the_verdict_holds_its_evidence(fresh: Settings, candidate: ModelAddress, easy: Task) -> None:
    entry, verdict = judge(fresh, easy, candidate)
    evidence = verdict.evidence
    assert evidence.leaks is not None and "machine system" in evidence.leaks.compared
    assert evidence.leaks.warnings == (
        f"the truth of {evidence.leaks.test_rows} of {evidence.leaks.test_rows} test rows was generated with them",
    )
    assert set(evidence.splits) == {"train", "validation", "test"}
    assert (evidence.bars, evidence.adapter, evidence.merge_report) == (easy.bars_digest("demo"), None, None)
    assert verdict.hardware is not None and verdict.hardware.cores >= 1 and verdict.hardware.cpu
    recorded = json.loads(entry.body)
    assert recorded["evidence"]["leaks"]["trained_rows"].keys() == {"train", "validation"}


def test_another_machine_and_commit_make_no_other_verdict(
    fresh: Settings, candidate: ModelAddress, easy: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, verdict = judge(fresh, easy, candidate)
    assert verdict.hardware is not None
    other = verdict.hardware.model_copy(update={"cpu": "another processor"})
    monkeypatch.setattr("hotline.machine.hardware", lambda: other)
    monkeypatch.setattr("hotline.machine.revision", lambda: None)
    again, _ = judge(fresh, easy, candidate)
    assert again == first


def test_of_a_version_that_was_never_judged_that_is_said(site: Any) -> None:
    address = site.version()
    found = looked_at(site.settings, address)
    assert found["bytes"][0] == "✓"
    assert found["verdict"] == ("✗", f"no verdict on {address.line}@1 for {TASK.name}")


def test_a_version_that_nobody_knows_is_an_unknown_name(site: Any) -> None:
    with pytest.raises(UnknownName):
        verify_version(site.settings, "nothing", "1")


def test_a_failed_verdict_is_no_tampering_and_is_told(site: Any) -> None:
    address = site.version()
    site.verdict(address, "failed")
    assert failed(site.settings, address) == []
    assert looked_at(site.settings, address)["verdict"][1].startswith("failed (demo), ledger entry 1")


def test_promotions_and_who_decided_are_told_of_champions_and_former_ones(site: Any) -> None:
    first, second = site.version(), site.version()
    site.verdict(first)
    promote(site.settings, TASK, first, "CHG-1")
    site.verdict(second, previous=first.digest)
    promote(site.settings, TASK, second, "CHG-2")
    former, now = looked_at(site.settings, first), looked_at(site.settings, second)
    assert former["promotion"][1].startswith("answered once") and "by operator: CHG-1" in former["promotion"][1]
    assert now["promotion"][1].startswith("answers since ledger entry 4")
    assert (former["MLflow alias"][1], now["MLflow alias"][1]) == (
        "points elsewhere, as the ledger says",
        "points at this version",
    )
    site.client.set_registered_model_alias(first.line, registry.champion_alias(TASK.name, site.name), first.version)
    assert failed(site.settings, first) == failed(site.settings, second) == ["MLflow alias"]


def test_a_lost_registry_entry_is_named_when_the_ledger_knows_the_version(site: Any) -> None:
    address = site.version()
    site.verdict(address)
    site.client.delete_model_version(address.line, address.version)
    assert failed(site.settings, address) == ["bytes", "lineage"]
