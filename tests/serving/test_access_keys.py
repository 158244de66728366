"""The register of access keys believes nobody but an operator, and what guards the door forgets in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from hotline import keys as signing
from hotline.errors import (
    HotlineError,
    InputError,
    IntegrityError,
    PolicyError,
    RefusedError,
    TooManyCalls,
    UnknownName,
)
from pipelines.cli import app as command
from serving import sites
from serving.access import issue, listening
from serving.access.quotas import Quotas
from serving.access.records import Issued
from serving.access.register import Register
from serving.access.strangers import FREE, REMEMBERED, Strangers, neighbourhood

if TYPE_CHECKING:
    from tests.serving.conftest import Site

WISH = {"roles": ("call",)}


def create(site: Site, **wish: Any) -> tuple[Issued, str]:
    return issue.create(site.settings, "ivr", 30, "operator", {**WISH, **wish})


def test_no_file_holds_the_secret(site: Site) -> None:
    _, secret = create(site)
    files = [path for path in site.settings.workspace.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.split("_", 2)[2].encode() in path.read_bytes()]
    assert site.settings.access.stat().st_mode & 0o077 == 0


def test_only_an_operators_signature_makes_or_revokes_a_key(site: Site) -> None:
    made, _ = create(site)
    with pytest.raises(RefusedError, match="may not sign"):
        issue.create(site.settings, "x", 1, "gate", WISH)
    with pytest.raises(RefusedError, match="may not sign"):
        issue.revoke(site.settings, made.id, "x", "gate")


def test_a_task_a_role_and_a_key_that_are_not_there_are_named(site: Site) -> None:
    with pytest.raises(UnknownName, match="no task named 'nothing'"):
        create(site, tasks=("nothing",))
    with pytest.raises(InputError, match="--role"):
        create(site, roles=("king",))
    with pytest.raises(UnknownName, match="no such access key"):
        issue.revoke(site.settings, "0" * 12, "x", "operator")


@pytest.mark.parametrize("what", ["cut off", "edited", "swapped", "signed by another", "another site's"])
def test_a_register_that_was_tampered_with_is_refused_after_a_restart_too(
    site: Site, site_of: Callable[[str], Site], what: str
) -> None:
    made, _ = create(site)
    issue.revoke(site.settings, made.id, "lost", "operator")
    path = site.settings.access / "keys.jsonl"
    first, second = path.read_text().splitlines(keepends=True)
    if what == "signed by another":
        first = _signed_by(first, signing.load(site.settings.keys, "gate"))
    if what == "another site's":
        other = site_of("production")
        other.policy(site="elsewhere")
        create(other)
        first = (other.settings.access / "keys.jsonl").read_text()
    edited = first.replace('\\"call\\"', '\\"admin\\"')
    path.write_text({"cut off": first, "edited": edited + second, "swapped": second + first}.get(what, first + second))
    with pytest.raises(IntegrityError, match=r"entry [012]"):
        Register.of(site.settings).read()


def _signed_by(line: str, key: signing.SigningKey) -> str:
    from serving.access import register

    entry = json.loads(line) | {"public_key": key.public}
    entry["hash"] = register._hash(entry["seq"], entry["prev_hash"], entry["body"], key.public)
    return json.dumps(entry | {"signature": key.sign(entry["hash"])}) + "\n"


def test_the_command_shows_a_secret_once_and_lists_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTLINE_WORKSPACE", str(site.settings.workspace))

    def run(*words: str) -> str:
        done = CliRunner().invoke(command, ["access", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    made = json.loads(run("create", "ivr", "--task", "ticket_category", "--per-minute", "60", "--json"))
    assert made["key"].split("_")[:2] == ["hl", made["id"]]
    assert "  hl_" in run("create", "desk", "--role", "metrics", "--role", "call")
    run("revoke", made["id"], "--reason", "lost")
    listed = json.loads(run("list", "--json"))
    assert [each["state"] for each in listed] == ["revoked", "holds"]
    assert (listed[0]["tasks"], listed[0]["limits"]) == ("ticket_category", "60 a minute")
    assert made["key"].split("_", 2)[2] not in run("list")


def test_other_machines_are_not_listened_to_without_required_access(site: Site) -> None:
    outside = site.settings.model_copy(update={"host": "0.0.0.0"})
    listening.check(site.settings)
    with pytest.raises(PolicyError, match="without an access key") as caught:
        listening.check(outside)
    assert caught.value.next
    site.policy(access="required")
    listening.check(outside)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert listening.is_here(host)
    assert not listening.is_here("hotline.example") and not listening.is_here("10.0.0.1")


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_starts(site: Site, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("nonsense")
    for more in ({"certificate": tmp_path / "c.pem"}, {"certificate_key": tmp_path / "c.pem"}):
        with pytest.raises(InputError, match="a certificate and its key"):
            listening.check(site.settings.model_copy(update=more))
    both = {"certificate": tmp_path / "c.pem", "certificate_key": tmp_path / "nowhere.pem"}
    with pytest.raises(InputError, match="the certificate cannot be used"):
        listening.check(site.settings.model_copy(update=both))


def test_a_policy_that_changes_only_who_may_call_has_the_digest_that_verdicts_name(site: Site) -> None:
    from hotline import policy

    before = policy.load(site.settings.workspace).digest
    site.policy(access="required")
    assert policy.load(site.settings.workspace).digest == before


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def waits(strangers: Strangers, who: tuple[str, str]) -> int:
    try:
        strangers.refuse_waiting(who)
    except TooManyCalls as error:
        return error.retry_after
    return 0


def test_the_wait_after_wrong_keys_doubles_up_to_a_minute_and_is_forgotten() -> None:
    clock = Clock()
    strangers, who, told = Strangers(clock), ("10.0.0.1", ""), []
    for _ in range(FREE + 9):
        strangers.wrong(who)
        told.append(waits(strangers, who))
        clock.now += told[-1]
        assert waits(strangers, who) == 0
    assert told == [0] * FREE + [1, 2, 4, 8, 16, 32, 60, 60, 60]
    clock.now += 601
    strangers.wrong(who)
    assert waits(strangers, who) == 0
    assert waits(strangers, ("10.0.0.2", "")) == 0


def test_a_million_strangers_fill_no_memory() -> None:
    strangers = Strangers(Clock())
    for number in range(3 * REMEMBERED):
        strangers.wrong((str(number), ""))
    assert len(strangers) == REMEMBERED
    assert neighbourhood("2001:db8::1:2:3:4") == neighbourhood("2001:db8::9") == "2001:db8::/64"


def test_calls_come_back_at_an_even_pace_and_days_begin_anew(site: Site) -> None:
    clock = Clock()
    quotas, (key, _) = Quotas(clock), create(site, per_minute=60, per_day=70, concurrency=2)

    def one() -> int | None:
        try:
            with quotas.taken(key):
                return None
        except TooManyCalls as error:
            return error.retry_after

    assert [one() for _ in range(61)] == [None] * 60 + [1]
    clock.now += 5
    assert [one() for _ in range(6)] == [None] * 5 + [1]
    clock.now += 10
    assert [one() for _ in range(6)][-1] == pytest.approx(24 * 3600 - clock.now % (24 * 3600), abs=1)
    clock.now += 24 * 3600
    with quotas.taken(key), quotas.taken(key):
        assert one() == 1
    assert one() is None


def test_a_client_says_that_its_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    from serving import client

    answer = httpx.Response(401, json={"error": {"message": "the access key has expired"}})
    monkeypatch.setenv("HOTLINE_API_KEY", "hl_secret")
    error = client._refused(httpx.AsyncClient(base_url="http://127.0.0.1"), answer)
    assert isinstance(error, HotlineError) and "expired" in str(error) and "hl_secret" not in str(error)
    assert client._key() == {"Authorization": "Bearer hl_secret"}


def test_sites_of_one_deployment_have_names_ledgers_and_ports_of_their_own(
    site: Site, site_of: Callable[[str], Site]
) -> None:
    other = site_of("production")
    with pytest.raises(InputError, match="the same name"):
        sites.apart([site.settings, other.settings])
    other.policy(site="elsewhere")
    shared = other.settings.model_copy(update={"ledger_url": site.settings.ledger_url})
    with pytest.raises(InputError, match="the same ledger"):
        sites.apart([site.settings, shared])
    assert [each.port for each in sites.apart([site.settings, other.settings])] == [8000, 8001]
