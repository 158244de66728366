"""Ways to get a version in front of callers that has not earned it. Each is refused, and the reason is named.

More of them where they belong: edited weights, edited, swapped and stale verdicts, demo verdicts (test_promote), test
rows in training, missing answers (test_gate), broken chains (test_ledger), what serving refuses (test_start).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from evaluation import answers as files
from evaluation import leaks
from evaluation.approve import approve
from evaluation.gate import judge
from evaluation.promote import promote, rollback
from evaluation.verify import verify
from hotline import registry
from hotline.errors import HotlineError, IntegrityError, PolicyError, RefusedError
from hotline.ledger import Ledger
from hotline.task import Task
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK

YESTERDAY = (datetime.now(UTC) - timedelta(1)).date()


def problems(site: Any) -> dict[str, HotlineError]:
    return {check.name: check.error() for check in verify(site.settings) if not check.ok}


def champion(site: Any, previous: Any = None) -> Any:
    """A version that was judged and promoted."""
    address = site.version()
    site.verdict(address, previous=previous.digest if previous else None)
    promote(site.settings, TASK, address, "earned")
    return address


def test_a_truncated_ledger_is_named_by_whoever_reads_it_first(site: Any) -> None:
    first = champion(site)
    second = champion(site, first)
    site.run("DELETE FROM ledger WHERE seq = 4")  # nobody is to know that the first one was replaced
    words = "ledger entry 4: the ledger was truncated, the entry is missing"
    for act in (
        lambda: promote(site.settings, TASK, second, "again"),
        lambda: rollback(site.settings, TASK, "again"),
        lambda: Ledger.of(site.settings).read(),
    ):
        with pytest.raises(IntegrityError, match=words) as broken:
            act()
        assert broken.value.next and "restore the ledger from a backup" in broken.value.next
    assert list(problems(site)) == ["ledger"]


def test_a_history_written_anew_with_the_right_keys_is_named(site: Any) -> None:
    address = champion(site)
    site.run("DELETE FROM ledger")
    site.settings.ledger_head.rename(site.settings.workspace / "aside")
    site.verdict(address)
    promote(site.settings, TASK, address, "as if for the first time")
    (site.settings.workspace / "aside").replace(site.settings.ledger_head)  # what git has
    with pytest.raises(IntegrityError, match="ledger entry 2: another entry stands in its place"):
        Ledger.of(site.settings).read()


def test_a_deleted_export_is_named_and_made_anew(site: Any) -> None:
    champion(site)
    site.settings.ledger_head.unlink()
    assert list(problems(site)) == ["ledger.head"]
    verify(site.settings, repair=True)
    assert not problems(site)


def test_an_alias_moved_back_to_a_former_champion_is_named_and_nothing_else_changes(site: Any) -> None:
    first = champion(site)
    second = champion(site, first)
    site.client.set_registered_model_alias(first.line, registry.champion_alias(TASK.name, site.name), first.version)
    found = problems(site)
    assert list(found) == [f"{TASK.name}: MLflow alias"]
    assert (found[f"{TASK.name}: MLflow alias"].found, found[f"{TASK.name}: MLflow alias"].expected) == (
        f"{first.line}@{first.version}",
        f"{second.line}@{second.version}",
    )
    standing = Ledger.of(site.settings).read().champion(TASK.name)
    assert standing is not None and standing.record.model == second


def test_after_the_policy_expired_nobody_judges_approves_or_promotes(site: Any, easy: Task) -> None:
    first = champion(site)
    second = site.version()
    site.verdict(second, previous=first.digest)
    site.person("wang", "approver")
    site.profile("demo", valid_until=YESTERDAY)
    for act in (
        lambda: judge(site.settings, easy, second),
        lambda: approve(site.settings, TASK, second, "wang", "looked at it"),
        lambda: promote(site.settings, TASK, second, "please"),
    ):
        with pytest.raises(PolicyError, match=f"the site's policy expired: it was valid until {YESTERDAY}") as expired:
            act()
        assert expired.value.next and "valid_until renewed" in expired.value.next
    assert list(problems(site)) == ["policy"]


def test_an_operator_may_roll_back_after_the_policy_expired(site: Any) -> None:
    first = champion(site)
    champion(site, first)
    site.profile("demo", valid_until=YESTERDAY)
    assert rollback(site.settings, TASK, "it talks nonsense").record.model == first


def test_a_verdict_older_than_the_policy_allows_has_expired(site: Any) -> None:
    old, fresh = site.version(), site.version()
    site.profile("demo", verdict_days=30)
    site.verdict(old, time=(datetime.now(UTC) - timedelta(31)).isoformat(timespec="seconds"))
    site.verdict(fresh, time=(datetime.now(UTC) - timedelta(29)).isoformat(timespec="seconds"))
    with pytest.raises(RefusedError, match="has expired"):
        promote(site.settings, TASK, old, "please")
    assert promote(site.settings, TASK, fresh, "in time").record.model == fresh


def test_a_verdict_under_bars_that_were_raised_since_is_stale(site: Any) -> None:
    address, judged_today = site.version(), site.version()
    site.verdict(address, bars="b" * 64)
    site.verdict(judged_today, bars=TASK.bars_digest("demo"))
    with pytest.raises(RefusedError, match="was reached under other bars"):
        promote(site.settings, TASK, address, "please")
    assert promote(site.settings, TASK, judged_today, "under today's").record.model == judged_today


def test_tasks_that_must_pass_together_are_not_promoted_one_by_one(site: Any, lineage: Any) -> None:
    both = lineage.model_copy(update={"together": True, "declarations": lineage.declarations | {"other": "0" * 64}})
    address = site.version(lineage=both)
    site.verdict(address, lineage=both)
    with pytest.raises(RefusedError, match="pass together or not at all, and other has not passed"):
        promote(site.settings, TASK, address, "the other one later")
    site.verdict(address, "failed", task="other", lineage=both)
    with pytest.raises(RefusedError, match="pass together"):
        promote(site.settings, TASK, address, "the other one failed")
    site.verdict(address, task="other", lineage=both)
    assert promote(site.settings, TASK, address, "both").record.model == address


@pytest.mark.parametrize(
    ("trained", "asked", "leak"),
    [
        (("machine:asr-1", "a"), ("machine:asr-1", "b"), "machine system"),
        (("machine:asr-1", "a"), ("machine:asr-2", "a"), "machine batch"),
        (("whisper", "a"), ("whisper", "b"), "machine system"),  # who does not say that people did it did not
        (("machine:asr-1", "a"), ("human", "a"), None),
        (("human", "a"), ("human", "a"), None),
        (("human:wang", "a"), ("human:wang", "b"), None),
        (("generated", "a"), ("generated", "a"), None),
    ],
)
def test_references_by_the_machine_that_labelled_the_training_rows_are_a_leak(
    table: Any, trained: tuple[str, str], asked: tuple[str, str], leak: str | None
) -> None:
    sides = []
    for first, (source, batch) in ((0, trained), (100, asked)):
        rows = table(8, first=first)
        rows.provenance |= {"label_source": [source] * 8, "label_batch": [batch] * 8}
        sides.append(rows)
    found = leaks.leaks(*sides)
    assert list(found)[:1] == ([leak] if leak else [])


def test_people_who_labelled_both_sides_are_a_warning_by_batch_and_generated_truth_is_a_note(table: Any) -> None:
    trained, test = table(8), table(8, first=100)
    test.provenance["label_source"] = ["human"] * 6 + ["generated"] * 2
    people, generated = leaks.warnings({"train": trained}, test)
    assert people == "people labelled 6 of 8 test rows in batches that also have training rows: batch-1"
    assert generated == "the truth of 2 of 8 test rows was generated with them"
    test.provenance["label_batch"] = ["batch-2"] * 8
    assert len(list(leaks.warnings({"train": trained}, test))) == 1


@pytest.mark.parametrize(
    "keep",
    [lambda rows: rows[:-1], lambda rows: rows[:0], lambda rows: [*rows[:-1], rows[0]]],
    ids=["one is missing", "none", "one twice"],
)
def test_a_file_without_exactly_one_answer_per_row_is_no_evidence(
    table: Any, answers: Any, tmp_path: Path, keep: Any
) -> None:
    rows, path = table(8), tmp_path / "answers.parquet"
    kept = keep(list(zip(rows.ids, answers(rows), strict=True)))
    files.save(path, [id for id, _ in kept], {"candidate": [answer for _, answer in kept]})
    with pytest.raises(RefusedError, match="candidate did not answer every test row"):
        files.read(path, TASK, rows.ids, ["candidate"])
