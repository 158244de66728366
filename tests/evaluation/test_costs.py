"""What an answer costs can be a bar; a task that does not ask for it is answered and recorded as before."""

from __future__ import annotations

import dataclasses

import pyarrow.parquet as pq

from evaluation import report
from evaluation.gate import judge
from hotline.cost_scores import latency_p95, memory_gib
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Bar
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY

TIMED = dataclasses.replace(
    TICKET_CATEGORY,
    scores={**TICKET_CATEGORY.scores, "latency_p95": latency_p95, "memory_gib": memory_gib},
    bars={"demo": (Bar("latency_p95", at_most=60.0), Bar("memory_gib", at_most=1e-3))},
)


def test_a_bar_on_latency_passes_and_one_on_memory_fails(workspace_copy: Settings, candidate: ModelAddress) -> None:
    _, verdict = judge(workspace_copy, TIMED, candidate, progress=False)
    assert [finding.outcome for finding in verdict.findings] == ["passed", "failed"]
    figure = next(each for each in verdict.figures if each.score == "latency_p95" and each.slice is None)
    assert figure.estimate is not None and 0 < figure.estimate < 60
    file = report.folder(workspace_copy, candidate.line, TIMED.name) / report.ANSWERS_FILE
    assert all(pq.read_table(file).column("cost").to_pylist())


def test_a_task_without_such_a_score_keeps_no_costs(workspace_copy: Settings, candidate: ModelAddress) -> None:
    assert TIMED.timed and not TICKET_CATEGORY.timed
    _, first = judge(workspace_copy, TICKET_CATEGORY, candidate, progress=False)
    _, again = judge(workspace_copy, TICKET_CATEGORY, candidate, progress=False)
    assert first == again
    file = report.folder(workspace_copy, candidate.line, TICKET_CATEGORY.name) / report.ANSWERS_FILE
    assert not any(pq.read_table(file).column("cost").to_pylist())
