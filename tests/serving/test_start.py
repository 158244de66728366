"""What may not be served is refused before anything starts, and the message names the next command."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotline.errors import HotlineError, IntegrityError, RefusedError, UnavailableError
from hotline.tasks import find
from serving import replica
from serving.run import start

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_category")


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
    with sqlite3.connect(site.settings.state / "ledger.db") as store:
        store.execute("UPDATE ledger SET body = replace(body, 'failed', 'passed') WHERE seq = 1")
    store.close()
    error = refusal(site)
    assert isinstance(error, IntegrityError)
    assert "entry 1" in str(error)


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


def _flip(path: Path) -> None:
    path.chmod(0o644)
    path.write_text(path.read_text(encoding="utf-8").replace("路", "道", 1), encoding="utf-8")
