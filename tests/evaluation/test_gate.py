"""The gate on a real trained version: what it says, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.store import open_snapshot
from evaluation import gate, leaks
from evaluation.compare import compare
from evaluation.gate import judge
from evaluation.promote import promote
from evaluation.verify import verify
from hotline import digests, registry
from hotline.errors import IntegrityError, PolicyError, RefusedError, UnavailableError, UnknownName
from hotline.ledger import Ledger
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK
from hotline.text import SCORED


def entries(settings: Settings) -> int:
    return len(Ledger.of(settings).read().entries)


def test_a_first_model_gets_a_signed_verdict_with_its_evidence(
    fresh: Settings, candidate: ModelAddress, easy: Task
) -> None:
    entry, verdict = judge(fresh, easy, candidate)
    rows = open_snapshot(fresh, TASK).rows("test")
    assert verdict.outcome == "passed", verdict.findings
    assert verdict.model == candidate
    assert verdict.previous_champion is None
    assert (verdict.evidence.test_rows, list(verdict.evidence.lineage.declarations)) == (rows.digest, [TASK.name])
    regions = set(rows.provenance["region"])
    assert {finding.figure.value for finding in verdict.findings if finding.figure and finding.figure.slice} >= regions
    assert any("first model" in finding.reason for finding in verdict.findings)
    assert Ledger.of(fresh).read().by_hash(entry.hash) == entry


def test_the_report_is_the_ledgers_verdict_and_an_edit_of_it_is_named(
    fresh: Settings, candidate: ModelAddress, easy: Task
) -> None:
    entry, verdict = judge(fresh, easy, candidate)
    folder = fresh.verdicts / candidate.line / TASK.name
    report = json.loads((folder / "verdict.json").read_text())
    assert report["ledger"]["hash"] == entry.hash
    assert digests.of_file(folder / "answers.parquet") == verdict.evidence.answers
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["macro_f1_low"] <= metrics["macro_f1"] <= metrics["macro_f1_high"]
    run = registry.connect(fresh.tracking_uri).get_run(candidate.run_id)
    assert run.data.metrics["test/macro_f1"] == pytest.approx(metrics["macro_f1"])
    assert all(check.ok for check in verify(fresh))
    report["verdict"]["outcome"] = "failed"
    (folder / "verdict.json").write_text(json.dumps(report))
    (edited,) = [check for check in verify(fresh) if not check.ok]
    assert edited.name == f"report of {candidate.line} on {TASK.name}"
    assert "edited" in str(edited.error())


def test_the_same_evidence_is_not_recorded_twice(fresh: Settings, candidate: ModelAddress, easy: Task) -> None:
    first, _ = judge(fresh, easy, candidate)
    again, _ = judge(fresh, easy, candidate)
    assert first == again
    assert entries(fresh) == 1


def test_a_bar_out_of_reach_fails_with_its_figure(fresh: Settings, candidate: ModelAddress, easy: Task) -> None:
    hard = replace(easy, bars={"demo": (replace(easy.bars["demo"][0], at_least=1.1),)})
    _, verdict = judge(fresh, hard, candidate)
    assert verdict.outcome == "failed"
    with pytest.raises(RefusedError, match="macro_f1 at least"):
        promote(fresh, TASK, candidate, "please")


def test_candidate_and_champion_answer_the_same_rows_in_one_go(
    fresh: Settings, candidate: ModelAddress, easy: Task, variant: Any
) -> None:
    judge(fresh, easy, candidate)
    promote(fresh, easy, candidate, "first")
    _, itself = judge(fresh, easy, candidate)
    assert any("this version is the champion" in finding.reason for finding in itself.findings)
    other = variant(fresh, candidate, "other", {"recipe": "1" * 64})
    _, verdict = judge(fresh, easy, other)
    assert verdict.previous_champion == candidate.digest
    overall, *regions = [finding for finding in verdict.findings if "champion" in finding.bar]
    assert overall.figure is not None and overall.figure.estimate == 0
    assert "candidate − champion" in overall.reason
    assert regions and all(finding.figure and finding.figure.estimate == 0 for finding in regions)
    assert verdict.tests and not any(test.claimed for test in verdict.tests)
    wanted = (fresh.verdicts / other.line / easy.name / "wanted.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["calls"] for line in wanted] == [
        w.calls_missing for w in verdict.settles if w.calls_missing
    ]


def test_a_verdict_goes_stale_when_the_champion_changes(
    fresh: Settings, candidate: ModelAddress, easy: Task, variant: Any
) -> None:
    other = variant(fresh, candidate, "other", {"recipe": "1" * 64})
    judge(fresh, easy, candidate)
    judge(fresh, easy, other)
    promote(fresh, easy, candidate, "first")
    with pytest.raises(RefusedError, match="stale"):
        promote(fresh, easy, other, "second")


def test_test_rows_in_training_are_refused_and_shown_in_a_comparison(
    fresh: Settings, candidate: ModelAddress, easy: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "TRAINED_ON", ("train", "test"))  # a version that was trained on the test split
    with pytest.raises(RefusedError, match="has seen test rows"):
        judge(fresh, easy, candidate)
    assert entries(fresh) == 0
    assert "has seen test rows" in (compare(fresh, easy, [candidate]).systems[0].note or "")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"snapshot": "f" * 64}, "training snapshot is not here"),
        ({"declarations": {"ticket_summary": "f" * 64}}, "trained for another task"),
        ({"declarations": {TASK.name: "f" * 64}}, "another declaration"),
    ],
)
def test_a_version_of_another_origin_is_refused(
    fresh: Settings, candidate: ModelAddress, easy: Task, variant: Any, changed: dict[str, str], words: str
) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        judge(fresh, easy, variant(fresh, candidate, "variant", changed))
    assert refused.value.next and "hotline train variant" in refused.value.next
    assert entries(fresh) == 0


def test_a_profile_without_bars_is_refused_not_passed(fresh: Settings, candidate: ModelAddress) -> None:
    for bars in ({}, {"demo": ()}):
        with pytest.raises(RefusedError, match="declares no bars for the profile demo"):
            judge(fresh, replace(TASK, bars=bars), candidate)


def test_a_missing_test_snapshot_names_the_import(fresh: Settings, candidate: ModelAddress, easy: Task) -> None:
    (fresh.corpora / TASK.name / "HEAD").unlink()
    with pytest.raises(UnknownName, match="hotline import"):
        judge(fresh, easy, candidate)


def test_edited_weights_are_not_judged(fresh: Settings, candidate: ModelAddress, easy: Task) -> None:
    for weights in Path(fresh.artifacts).rglob("model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        judge(fresh, easy, candidate)


def test_a_version_that_is_said_to_have_other_bytes_is_not_judged(
    fresh: Settings, candidate: ModelAddress, easy: Task
) -> None:
    with pytest.raises(IntegrityError, match="bytes are not those"):
        judge(fresh, easy, candidate.model_copy(update={"digest": "d" * 64}))


def test_a_machine_without_the_gates_key_cannot_judge(fresh: Settings, candidate: ModelAddress, easy: Task) -> None:
    (fresh.keys / "gate.key").unlink()
    with pytest.raises(PolicyError, match="hotline keys new gate"):
        judge(fresh, easy, candidate)


def test_without_mlflow_nothing_is_judged(fresh: Settings, candidate: ModelAddress, easy: Task) -> None:
    away = fresh.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(UnavailableError, match="MLflow server does not answer"):
        judge(away, easy, candidate)


def test_an_answer_that_is_missing_is_refused(
    fresh: Settings, candidate: ModelAddress, easy: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gate.answers.answer_rows
    monkeypatch.setattr(gate.answers, "answer_rows", lambda *given, **named: whole(*given, **named)[:-1])
    with pytest.raises(RefusedError, match="candidate did not answer every test row"):
        judge(fresh, easy, candidate)
    assert entries(fresh) == 0


def test_a_champion_that_changes_while_we_judge_is_noticed(
    fresh: Settings, candidate: ModelAddress, easy: Task, variant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = variant(fresh, candidate, "other", {"recipe": "1" * 64})
    judge(fresh, easy, candidate)
    whole = gate.answers.answer_rows

    def meanwhile(*given: object, **named: object) -> object:
        promote(fresh, easy, candidate, "somebody else was faster")
        return whole(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(gate.answers, "answer_rows", meanwhile)
    with pytest.raises(RefusedError, match="the champion changed while"):
        judge(fresh, easy, other)


def test_versions_are_compared_on_the_same_rows_with_paired_differences(
    fresh: Settings, candidate: ModelAddress, easy: Task, variant: Any
) -> None:
    other = variant(fresh, candidate, "other", {"recipe": "1" * 64})
    comparison = compare(fresh, easy, [candidate, other])
    data = comparison.as_dict()
    assert data["rows"] == len(open_snapshot(fresh, TASK).rows("test"))
    assert data["text_rules"]["digest"] == SCORED.digest and SCORED.digest[:12] in str(comparison.table().caption)
    first, second = data["systems"]
    assert first["differences"] == [] and first["note"] is None
    assert {difference["estimate"] for difference in second["differences"]} == {0}
    json.dumps(data, allow_nan=False)
    assert comparison.table().row_count == sum(each["estimate"] is not None for each in first["figures"])
