"""Promotion needs as many people as the policy asks for, not the gate, not the operator, on that very verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from evaluation.approve import approve
from evaluation.promote import promote, rollback
from evaluation.verify import verify
from hotline.errors import PolicyError, RefusedError
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK
from pipelines.cli import app


@pytest.fixture
def strict(site: Any) -> Any:
    """A site that asks for two approvals, with three approvers."""
    for name in ("wang", "li", "chan"):
        site.person(name, "approver")
    site.profile("demo", approvals=2)
    return site


def test_a_promotion_waits_for_two_people_and_names_their_entries(strict: Any) -> None:
    address = strict.version()
    verdict = strict.verdict(address)
    with pytest.raises(RefusedError, match="lacks 2 approvals"):
        promote(strict.settings, TASK, address, "please")
    first = approve(strict.settings, TASK, address, "wang", "listened to twenty calls")
    with pytest.raises(RefusedError, match="lacks one approval") as refused:
        promote(strict.settings, TASK, address, "please")
    assert refused.value.found == f"wang (entry {first.seq})"
    assert refused.value.next and refused.value.next.startswith(f"hotline approve {address.line}@1 --task")
    second = approve(strict.settings, TASK, address, "li", "read the findings")
    entry = promote(strict.settings, TASK, address, "both agreed")
    assert (entry.record.verdict, entry.record.approvals) == (verdict.hash, (first.hash, second.hash))
    assert all(check.ok for check in verify(strict.settings))


def test_one_person_counts_once(strict: Any) -> None:
    address = strict.version()
    strict.verdict(address)
    first = approve(strict.settings, TASK, address, "wang", "yes")
    assert approve(strict.settings, TASK, address, "wang", "yes, really") == first
    with pytest.raises(RefusedError, match="lacks one approval"):
        promote(strict.settings, TASK, address, "please")


def test_the_operators_own_approval_does_not_count(strict: Any) -> None:
    address = strict.version()
    strict.verdict(address)
    path = strict.settings.workspace / "policy" / "signers.yaml"
    path.write_text(path.read_text().replace("- operator\n", "- operator\n  - approver\n"))
    for name in ("wang", "operator"):
        approve(strict.settings, TASK, address, name, "mine")
    with pytest.raises(RefusedError, match="lacks one approval") as refused:
        promote(strict.settings, TASK, address, "please")
    assert "of the operator, the gate or the same person: operator" in str(refused.value)


def test_the_gate_cannot_approve_its_own_verdict(strict: Any) -> None:
    address = strict.version()
    strict.verdict(address)
    with pytest.raises(RefusedError, match="may not sign an approval"):
        approve(strict.settings, TASK, address, "gate", "it was me who said so")
    path = strict.settings.workspace / "policy" / "signers.yaml"
    path.write_text(path.read_text().replace("- gate\n", "- gate\n  - approver\n"))
    with pytest.raises(RefusedError, match="the gate does not approve its own verdict"):
        approve(strict.settings, TASK, address, "gate", "it was me who said so")


def test_an_approval_is_of_one_verdict_and_not_of_the_version(strict: Any) -> None:
    address = strict.version()
    strict.verdict(address)
    for name in ("wang", "li"):
        approve(strict.settings, TASK, address, name, "yes")
    strict.verdict(address)  # judged again
    with pytest.raises(RefusedError, match="lacks 2 approvals"):
        promote(strict.settings, TASK, address, "they said yes to the other one")


@pytest.mark.parametrize("outcome", ["failed", "insufficient evidence"])
def test_what_did_not_pass_cannot_be_approved(strict: Any, outcome: str) -> None:
    address = strict.version()
    strict.verdict(address, outcome)
    with pytest.raises(RefusedError, match=f"is: {outcome}"):
        approve(strict.settings, TASK, address, "wang", "but I like it")


def test_a_machine_without_that_key_cannot_approve(strict: Any) -> None:
    address = strict.version()
    strict.verdict(address)
    with pytest.raises(PolicyError, match="hotline keys new approver --name zhao"):
        approve(strict.settings, TASK, address, "zhao", "yes")


def test_a_policy_that_begins_to_ask_is_met_by_approving_what_stands_and_what_stood(site: Any) -> None:
    first, second = site.version(), site.version()
    site.verdict(first)
    promote(site.settings, TASK, first, "first")
    site.verdict(second, previous=first.digest)
    promote(site.settings, TASK, second, "second")
    site.person("wang", "approver")
    site.profile("demo", approvals=1)
    assert [check.name for check in verify(site.settings) if not check.ok] == [f"{TASK.name}: approvals"]
    with pytest.raises(RefusedError, match="lacks one approval"):
        rollback(site.settings, TASK, "back")
    for address in (first, second):
        approve(site.settings, TASK, address, "wang", "agreed later")
    assert all(check.ok for check in verify(site.settings))
    assert rollback(site.settings, TASK, "back").record.model == first


@pytest.fixture
def hotline(strict: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in that site: what a command printed."""
    here = strict.settings
    for name, value in (
        ("HOTLINE_WORKSPACE", here.workspace),
        ("HOTLINE_KEYS", here.keys),
        ("HOTLINE_LEDGER_URL", here.ledger_url),
        ("MLFLOW_TRACKING_URI", here.tracking_uri),
    ):
        monkeypatch.setenv(name, str(value))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_the_history_of_a_task_says_when_what_who_and_why(strict: Any, hotline: Any) -> None:
    address = strict.version()
    strict.verdict(address)
    name = f"{address.line}@{address.version}"
    for who in ("wang", str(strict.settings.keys / "li.key")):
        assert "approved" in hotline("approve", name, "--task", TASK.name, "--key", who, "--reason", "聽過二十通")
    hotline("promote", name, "--reason", "CHG-1042")
    told = json.loads(hotline("history", TASK.name, "--json"))
    assert [(line["kind"], line["who"], line["why"]) for line in told] == [
        ("verdict", "gate", "passed (demo)"),
        ("approval", "wang", "聽過二十通"),
        ("approval", "li", "聽過二十通"),
        ("promotion", "operator", "CHG-1042"),
    ]
    assert [line["previous"] for line in told[1:]] == [line["hash"] for line in told[:-1]]
    shown = hotline("history", TASK.name)
    assert name in shown and "CHG-1042" in shown
    assert "approvals" in hotline("verify", name)
