"""What may not be served is refused before anything starts, and the message names the next command."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from hotline import heads, keys, policy
from hotline.errors import HotlineError, IntegrityError, RefusedError, UnavailableError
from hotline.records import Rollback
from hotline.tasks import find
from serving import replica
from serving.app import build
from serving.controller import Controller
from serving.routes import RouteMap
from serving.run import start
from serving.switchboard import Switchboard

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_category")
NOW = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def refusal(free_port: int) -> Callable[[Site], HotlineError]:
    def of(site: Site) -> HotlineError:
        with pytest.raises(HotlineError) as caught:
            start(site.settings, free_port)
        assert caught.value.next
        return caught.value

    return of


def test_without_a_champion_nothing_starts(site: Site, refusal: Callable[[Site], HotlineError]) -> None:
    error = refusal(site)
    assert isinstance(error, RefusedError)
    assert "hotline promote" in str(error)


def test_where_ray_comes_up_too_slowly_that_is_said_without_a_traceback(
    site: Site, refusal: Callable[[Site], HotlineError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray does

    site.champion(1)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", slow)
    monkeypatch.setattr("serving.run._stop_ray", lambda _: None)  # this process may serve other tests
    error = refusal(site)
    assert isinstance(error, UnavailableError) and "hotline serve, again" in str(error)


def test_a_port_in_use_is_refused_with_a_free_one_to_try(site: Site) -> None:
    site.champion(1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"port {port} is in use") as caught:
            start(site.settings, port)
    assert caught.value.next == f"HOTLINE_PORT={port + 1} hotline serve"


@pytest.mark.parametrize("outcome", ["failed", "insufficient evidence"])
def test_a_version_whose_verdict_did_not_pass_is_refused(
    site: Site, refusal: Callable[[Site], HotlineError], outcome: str
) -> None:
    model = site.version(1)
    site.promote(model, site.judge(model, outcome).hash)
    assert "did not pass" in str(refusal(site))


def test_a_demo_verdict_is_refused_at_a_production_site(
    site_of: Callable[[str], Site], refusal: Callable[[Site], HotlineError]
) -> None:
    production = site_of("production")
    model = production.version(1)
    production.promote(model, production.judge(model, profile="demo").hash)
    assert "production verdicts only" in str(refusal(production))


def test_a_verdict_about_other_bytes_is_refused(site: Site, refusal: Callable[[Site], HotlineError]) -> None:
    judged, other = site.version(1), site.version(2)
    site.promote(other, site.judge(judged).hash)
    assert "no verdict about its bytes" in str(refusal(site))


def test_a_promotion_that_names_no_verdict_is_refused(site: Site, refusal: Callable[[Site], HotlineError]) -> None:
    site.promote(site.version(1), "b" * 64)
    assert "no verdict" in str(refusal(site))


def test_edited_bytes_are_refused_and_the_file_is_named(site: Site, refusal: Callable[[Site], HotlineError]) -> None:
    model = site.champion(1)
    _flip(site.settings.verified / model.digest / "labels.json")
    error = refusal(site)
    assert isinstance(error, IntegrityError)
    assert error.where == "labels.json"


def test_an_edited_ledger_is_refused(site: Site, refusal: Callable[[Site], HotlineError]) -> None:
    model = site.version(1)
    site.promote(model, site.judge(model, "failed").hash)
    _run(site, "UPDATE ledger SET body = replace(body, 'failed', 'passed') WHERE seq = 1")
    error = refusal(site)
    assert isinstance(error, IntegrityError)
    assert "entry 1" in str(error)


def test_a_ledger_cut_off_behind_what_was_followed_is_refused_after_a_restart_too(
    site: Site, refusal: Callable[[Site], HotlineError]
) -> None:
    site.champion(1)
    site.champion(2)
    whole = site.ledger.read()
    heads.export(site.settings.followed_head, len(whole.entries), whole.head)  # what a controller leaves
    _run(site, "DELETE FROM ledger WHERE seq = 4")
    error = refusal(site)
    assert isinstance(error, IntegrityError)
    assert "ledger entry 4: the ledger was truncated" in str(error)
    with pytest.raises(IntegrityError, match="truncated"):
        replica.verify(site.settings, TASK, 2)


def test_a_running_controller_follows_no_head_that_does_not_descend_from_the_one_it_follows(site: Site) -> None:
    site.champion(1)
    controller = Controller(site.settings, replica.Options())
    controller.check()
    _run(site, "DELETE FROM ledger WHERE seq = 2")
    with pytest.raises(IntegrityError, match="ledger entry 2: the ledger is shorter"):
        controller.check()
    site.champion(2)
    with pytest.raises(IntegrityError, match="ledger entry 2: the ledger was written anew"):
        controller.check()


def test_a_promotion_without_the_approvals_that_the_policy_asks_for_is_refused(
    site: Site, refusal: Callable[[Site], HotlineError]
) -> None:
    model = site.version(1)
    verdict = site.judge(model)
    site.promote(model, verdict.hash)
    site.policy(approvals=1)
    assert "lacks one approval" in str(refusal(site))
    site.approve(model, verdict.hash, "operator")
    assert "lacks one approval" in str(refusal(site))  # whoever promotes does not count
    site.approve(model, verdict.hash, "wang")
    assert replica.verify(site.settings, TASK, 2).model == model


def test_a_rollback_to_what_never_answered_is_refused(site: Site, refusal: Callable[[Site], HotlineError]) -> None:
    answering = site.champion(1)
    other = site.version(2)
    fields = {"site": "test", "task": TASK.name, "time": NOW, "model": other, "verdict": site.judge(other).hash}
    record = Rollback(**fields, previous_champion=answering.digest, reason="test")
    site.ledger.append(lambda _: record, keys.load(site.settings.keys, "operator"))
    assert "a version that was never its champion" in str(refusal(site))


def test_a_promotion_after_the_policy_expired_is_refused_and_one_before_is_served(
    site: Site, refusal: Callable[[Site], HotlineError]
) -> None:
    site.champion(1)
    site.policy(valid_until=date(2025, 12, 31))
    assert "after the site's policy had expired" in str(refusal(site))
    site.policy(valid_until=date(2026, 1, 1))
    assert replica.verify(site.settings, TASK, 2)


def test_an_expired_policy_stops_nothing_that_is_served_and_is_told(site: Site) -> None:
    site.champion(1)
    site.policy(valid_until=date(2026, 1, 2))
    controller = Controller(site.settings, replica.Options())
    controller.check()
    (note,) = controller.notes()
    assert "the site's policy expired" in note
    switchboard = Switchboard("test")
    app = build(policy.load(site.settings.workspace), switchboard, site.settings.state)
    switchboard.map = RouteMap(number=1, head="0" * 64, notes=controller.notes())
    assert TestClient(app).get("/readyz").json()["notes"] == [note]


def test_an_alias_in_mlflow_moves_nothing_because_serving_never_asks_for_it(site: Site) -> None:
    """The registry does not even answer here: what the ledger says is what is served."""
    model = site.champion(1)
    away = site.settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    Controller(away, replica.Options()).check()
    assert replica.verify(away, TASK, 2).model == model


def test_a_replica_checks_its_own_copy_and_not_the_one_it_was_told_is_right(site: Site) -> None:
    model = site.champion(1)
    warranted = replica.verify(site.settings, TASK, 2)
    _flip(site.settings.verified / model.digest / "labels.json")
    with pytest.raises(IntegrityError):
        replica.private_copy(site.settings, warranted.model)
    assert list((site.settings.state / "replicas").iterdir()) == []


def test_a_replica_believes_the_ledger_and_not_whoever_started_it(site: Site) -> None:
    model = site.version(1)
    verdict = site.judge(model)
    with pytest.raises(RefusedError, match="nothing in the ledger makes this version the champion"):
        replica.verify(site.settings, TASK, verdict.seq)
    with pytest.raises(RefusedError):
        replica.verify(site.settings, TASK, 99)


def test_a_version_made_for_another_declaration_is_refused(site: Site) -> None:
    model = site.version(1, declaration="c" * 64)
    with pytest.raises(IntegrityError, match="another declaration"):
        replica.check_declaration(site.settings.verified / model.digest, TASK)


def _run(site: Site, statement: str) -> None:
    with sqlite3.connect(site.settings.state / "ledger.db") as store:
        assert store.execute(statement).rowcount >= 1
    store.close()


def _flip(path: Path) -> None:
    path.chmod(0o644)
    path.write_text(path.read_text(encoding="utf-8").replace("路", "道", 1), encoding="utf-8")
