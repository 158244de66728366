"""Promotion needs a passed, current verdict on the very bytes; the ledger decides, everything else repeats it."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import yaml

from evaluation.promote import lock_text, promote, rollback, write_lock
from evaluation.verify import Check, verify
from hotline import registry
from hotline.errors import HotlineError, IntegrityError, PolicyError, RefusedError
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK


def problems(checks: list[Check]) -> dict[str, HotlineError]:
    return {check.name: check.error() for check in checks if not check.ok}


def test_a_passed_verdict_makes_a_champion_and_lock_and_alias_repeat_it(site: Any) -> None:
    address = site.version()
    verdict = site.verdict(address)
    entry = promote(site.settings, TASK, address, "因為通過了")
    assert (entry.record.verdict, entry.record.previous_champion) == (verdict.hash, None)
    lock = yaml.safe_load(site.settings.champions_lock.read_text())
    assert lock == {TASK.name: {"line": address.line, "version": "1", "digest": address.digest, "ledger": entry.seq}}
    assert registry.mirrored_champions(site.client, TASK.name, site.name) == {address.line: "1"}
    assert not problems(verify(site.settings))


def test_promoting_the_champion_again_says_so_and_writes_nothing(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    address = site.version()
    site.verdict(address)
    first = promote(site.settings, TASK, address, "once")
    caplog.set_level("INFO")
    assert promote(site.settings, TASK, address, "twice") == first
    assert "already" in caplog.text
    assert len(site.ledger().read().entries) == 2


def test_without_a_verdict_there_is_no_promotion(site: Any) -> None:
    with pytest.raises(RefusedError, match="no verdict") as refused:
        promote(site.settings, TASK, site.version(), "please")
    assert refused.value.next and refused.value.next.startswith("hotline judge tickets")


@pytest.mark.parametrize("outcome", ["failed", "insufficient evidence"])
def test_a_verdict_that_did_not_pass_refuses_with_its_findings(site: Any, outcome: str) -> None:
    address = site.version()
    site.verdict(address, outcome)
    with pytest.raises(RefusedError, match=r"accuracy at least 0\.8: 0\.5"):
        promote(site.settings, TASK, address, "please")


def test_a_later_verdict_replaces_an_earlier_one(site: Any) -> None:
    address = site.version()
    site.verdict(address)
    site.verdict(address, "failed")
    with pytest.raises(RefusedError, match="failed"):
        promote(site.settings, TASK, address, "it once passed")


def test_another_versions_verdict_is_no_verdict(site: Any) -> None:
    good, other = site.version(), site.version()
    site.verdict(good)
    with pytest.raises(RefusedError, match="no verdict"):
        promote(site.settings, TASK, other, "swapped")


def test_a_verdict_against_a_former_champion_is_stale(site: Any) -> None:
    first, second, third = site.version(), site.version(), site.version()
    site.verdict(first)
    promote(site.settings, TASK, first, "first")
    for address in (second, third):
        site.verdict(address, previous=first.digest)
    promote(site.settings, TASK, second, "second")
    with pytest.raises(RefusedError, match="stale") as refused:
        promote(site.settings, TASK, third, "third")
    assert refused.value.next and refused.value.next.startswith("hotline judge")


def test_a_first_models_verdict_is_stale_when_there_is_a_champion(site: Any) -> None:
    first, second = site.version(), site.version("another_line")
    site.verdict(first)
    site.verdict(second)
    promote(site.settings, TASK, first, "first")
    with pytest.raises(RefusedError, match="stale"):
        promote(site.settings, TASK, second, "a new line is not a first model")


def test_a_demo_verdict_entitles_to_nothing_at_a_production_site(site: Any) -> None:
    address = site.version()
    site.verdict(address, profile="demo")
    site.profile("production")
    with pytest.raises(RefusedError, match="demo verdict at a production site"):
        promote(site.settings, TASK, address, "please")


def test_edited_model_bytes_are_named_and_not_promoted(site: Any) -> None:
    address = site.version()
    site.verdict(address)
    registry.fetch(site.client, address, site.settings.verified)  # a good copy from before does not help
    weights = site.artifacts(address) / "model.safetensors"
    weights.write_bytes(b"X" + weights.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        promote(site.settings, TASK, address, "please")
    assert site.ledger().read().champion(TASK.name) is None


def test_a_machine_without_the_operators_key_cannot_promote(site: Any) -> None:
    address = site.version()
    site.verdict(address)
    (site.settings.keys / "operator.key").unlink()
    with pytest.raises(PolicyError, match="hotline keys new operator"):
        promote(site.settings, TASK, address, "please")


def test_an_edited_verdict_stops_everything(site: Any) -> None:
    address = site.version()
    site.verdict(address, "failed")
    with sqlite3.connect(site.settings.workspace / "ledger.db") as store:
        store.execute("""UPDATE ledger SET body = replace(body, '"outcome":"failed"', '"outcome":"passed"')""")
    store.close()
    with pytest.raises(IntegrityError, match="ledger entry 1: the entry was edited"):
        promote(site.settings, TASK, address, "it says passed")
    checks = verify(site.settings)
    assert [check.name for check in checks] == ["ledger"]
    assert isinstance(checks[0].error(), IntegrityError)


def test_a_rollback_brings_the_version_before_back(site: Any) -> None:
    first, second = site.version(), site.version("another_line")
    verdict = site.verdict(first)
    promote(site.settings, TASK, first, "first")
    site.verdict(second, previous=first.digest)
    promote(site.settings, TASK, second, "second")
    entry = rollback(site.settings, TASK, "second talks nonsense")
    assert (entry.record.model, entry.record.verdict) == (first, verdict.hash)
    assert entry.record.previous_champion == second.digest
    assert registry.mirrored_champions(site.client, TASK.name, site.name) == {first.line: first.version}
    assert not problems(verify(site.settings))
    with pytest.raises(RefusedError, match="no champion before this one"):
        rollback(site.settings, TASK, "further")


def test_without_a_champion_there_is_nothing_to_roll_back(site: Any) -> None:
    with pytest.raises(RefusedError, match="no champion"):
        rollback(site.settings, TASK, "why not")


def test_a_rollback_refuses_a_version_that_passed_another_profile(site: Any) -> None:
    first, second = site.version(), site.version()
    site.verdict(first)
    promote(site.settings, TASK, first, "first")
    site.profile("production")
    site.verdict(second, profile="production", previous=first.digest)
    promote(site.settings, TASK, second, "second")
    with pytest.raises(RefusedError, match="demo verdict at a production site"):
        rollback(site.settings, TASK, "back")


def test_a_rollback_refuses_bytes_that_changed(site: Any) -> None:
    first, second = site.version(), site.version()
    site.verdict(first)
    promote(site.settings, TASK, first, "first")
    site.verdict(second, previous=first.digest)
    promote(site.settings, TASK, second, "second")
    (site.artifacts(first) / "tokenizer" / "vocabulary.json").write_text('{"a":1}')
    with pytest.raises(IntegrityError, match=r"tokenizer/vocabulary\.json"):
        rollback(site.settings, TASK, "back")


def test_an_alias_moved_by_hand_is_named_and_repaired(site: Any) -> None:
    first, second = site.version(), site.version()
    site.verdict(second)
    promote(site.settings, TASK, second, "second")
    alias = registry.champion_alias(TASK.name, site.name)
    site.client.set_registered_model_alias(first.line, alias, first.version)
    other = site.version("another_line")
    site.client.set_registered_model_alias(other.line, alias, other.version)
    found = problems(verify(site.settings))
    assert list(found) == [f"{TASK.name}: MLflow alias"]
    assert found[f"{TASK.name}: MLflow alias"].next == "hotline verify --repair"
    assert not problems(verify(site.settings, TASK, repair=True))
    assert registry.mirrored_champions(site.client, TASK.name, site.name) == {second.line: second.version}


def test_an_edited_or_lost_lock_file_is_named_and_made_anew_byte_for_byte(site: Any) -> None:
    address = site.version()
    site.verdict(address)
    promote(site.settings, TASK, address, "first")
    lock = site.settings.champions_lock
    before = lock.read_bytes()
    for content in (before.replace(address.digest.encode(), b"0" * 64), b"[", None):
        lock.unlink() if content is None else lock.write_bytes(content)
        assert list(problems(verify(site.settings))) == ["champions.lock"]
        write_lock(site.settings, site.ledger().read())
        assert lock.read_bytes() == before == lock_text(site.ledger().read()).encode()


def test_a_champion_whose_bytes_or_verdict_no_longer_hold_is_named(site: Any) -> None:
    address = site.version()
    site.verdict(address)
    promote(site.settings, TASK, address, "first")
    (site.artifacts(address) / "extra.py").write_text("print()")
    site.profile("production")
    found = problems(verify(site.settings))
    assert list(found) == [f"{TASK.name}: verdict", f"{TASK.name}: bytes of {address.line}@1"]
    assert "extra.py" in str(found[f"{TASK.name}: bytes of {address.line}@1"])


def test_checks_read_as_data(site: Any) -> None:
    checks = [check.as_dict() for check in verify(site.settings)]
    named = ("ledger", "policy", "champions.lock", "ledger.head")
    assert [(check["name"], check["ok"]) for check in checks] == [(name, True) for name in named]
