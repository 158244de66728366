"""A test set that was changed to suit a candidate: by other references, by a machine's references, by a lost district.

Rows are delivered again as an annotator or a ticket system would, through `hotline import`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
import yaml

from data import mapping
from data.ingest import import_table
from data.store import head, open_snapshot
from evaluation import references
from evaluation.gate import judge
from evaluation.promote import promote
from evaluation.verify_version import verify_version
from hotline.errors import IntegrityError, RefusedError
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK

Ticket = dict[str, str]


def deliver(settings: Settings, keep: Callable[[Ticket], bool], change: Ticket, source: str = "human") -> str:
    """The tickets of the corpus that `keep` names, once more and changed; gives the new snapshot's digest."""
    place = settings.workspace / "data" / "mappings" / "again.yaml"
    content = yaml.safe_load((place.parent / "tickets.yaml").read_text(encoding="utf-8"))
    content["constants"] = {"label_source": source, "label_batch": "again"}
    content["max_quarantined"] = 1.0
    place.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    table = settings.workspace / "data" / "incoming" / "tickets.xlsx"
    sheet = openpyxl.load_workbook(table, read_only=True).worksheets[0]
    columns, *rows = (tuple(str(cell or "") for cell in row) for row in sheet.iter_rows(values_only=True))
    tickets = [dict(zip(columns, row, strict=True)) for row in rows]
    again = table.with_suffix(".csv")
    with again.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows({**ticket, **change} for ticket in tickets if keep(ticket))
    import_table(settings, TASK, mapping.load(place), [again])
    return head(settings, TASK) or ""


def some(ticket: Ticket) -> bool:
    """Every tenth ticket, on all sides of the split."""
    return ticket["工单号"].endswith("7")


def test_references_changed_after_the_verdict_make_it_stale(
    fresh: Settings, candidate: ModelAddress, easy: Task
) -> None:
    _, verdict = judge(fresh, easy, candidate)
    was = verdict.evidence
    deliver(fresh, some, {"一级分类": "教育", "二级分类": "学前与培训", "三级分类": "校园食堂"})
    with pytest.raises(RefusedError, match="test rows were re-labelled since the verdict") as refused:
        promote(fresh, easy, candidate, "quickly")
    assert refused.value.next == f"hotline judge {candidate.line}"
    assert all(check.ok for check in verify_version(fresh, candidate.line, candidate.version))  # its own rows are there
    _, anew = judge(fresh, easy, candidate)
    assert (anew.evidence.test_snapshot, anew.evidence.test_rows) != (was.test_snapshot, was.test_rows)
    promote(fresh, easy, candidate, "judged on the references of today")


def test_a_verdict_that_names_other_test_rows_than_its_snapshot_has_is_named(
    fresh: Settings, candidate: ModelAddress, easy: Task
) -> None:
    _, verdict = judge(fresh, easy, candidate)
    other = verdict.model_copy(update={"evidence": verdict.evidence.model_copy(update={"test_rows": "e" * 64})})
    with pytest.raises(IntegrityError, match="was re-labelled: it is not the one that the verdict was reached on"):
        references.judged_rows(fresh, easy, other)


def test_references_of_the_system_that_labelled_the_training_rows_are_refused(
    fresh: Settings, candidate: ModelAddress, easy: Task, variant: Any
) -> None:
    snapshot = deliver(fresh, some, {"渠道": "網頁"}, "machine:tagger-2")
    taught = variant(fresh, candidate, "taught", {"snapshot": snapshot})
    with pytest.raises(
        RefusedError, match="were made by the machine system that labelled its training rows"
    ) as refused:
        judge(fresh, easy, taught)
    assert "machine:tagger-2" in str(refused.value.found)
    judge(fresh, easy, candidate)  # learnt from rows of before, which that system had not labelled


def test_a_district_that_vanished_from_the_corpus_is_missed_until_the_policy_retires_it(
    fresh: Settings, candidate: ModelAddress, easy: Task, variant: Any
) -> None:
    judge(fresh, easy, candidate)
    promote(fresh, easy, candidate, "first")
    deliver(fresh, lambda ticket: ticket["区域"] == "香江区", {"区域": "临岚区"})
    assert "香江区" not in open_snapshot(fresh, TASK).rows().provenance["region"]
    other = variant(fresh, candidate, "other", {"recipe": "1" * 64})
    _, verdict = judge(fresh, easy, other)
    missing = [found for found in verdict.findings if found.figure and found.figure.value == "香江区"]
    found = {(each.outcome, each.reason) for each in missing}
    assert found == {("insufficient evidence", "no test row with region 香江区")}
    assert verdict.outcome == "insufficient evidence"
    path = fresh.workspace / "policy" / "site.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "retired_slices: {region: [香江区]}\n", encoding="utf-8")
    _, verdict = judge(fresh, easy, other)
    assert not [found for found in verdict.findings if found.figure and found.figure.value == "香江区"]
