"""The site's policy is read strictly: a misspelt rule is refused, never silently void."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hotline import policy
from hotline.errors import PolicyError

KEY = "ab" * 32


def write(workspace: Path, name: str, text: str) -> Path:
    (workspace / "policy").mkdir(exist_ok=True)
    (workspace / "policy" / name).write_text(text, encoding="utf-8")
    return workspace


def test_a_policy_names_site_and_profile(tmp_path: Path) -> None:
    site = policy.load(write(tmp_path, "site.yaml", "schema_version: 1\nsite: 示範熱線\nprofile: production\n"))
    assert (site.site, site.profile) == ("示範熱線", "production")


def test_the_digest_changes_with_the_policy_and_not_with_its_layout(tmp_path: Path) -> None:
    first = policy.load(write(tmp_path, "site.yaml", "schema_version: 1\nsite: a\nprofile: demo\n")).digest
    same = policy.load(write(tmp_path, "site.yaml", "{profile: demo, site: a, schema_version: 1}")).digest
    other = policy.load(write(tmp_path, "site.yaml", "schema_version: 1\nsite: a\nprofile: production\n")).digest
    assert first == same != other


@pytest.mark.parametrize(
    "text",
    [
        "schema_version: 1\nsite: a\nprofile: relaxed\n",
        "schema_version: 1\nsite: a\nprofile: demo\nskip_gate: true\n",
        "schema_version: 2\nsite: a\nprofile: demo\n",
        "site: [",
        "",
    ],
)
def test_a_policy_that_is_not_understood_wholly_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError, match=r"site\.yaml"):
        policy.load(write(tmp_path, "site.yaml", text))


def test_without_a_policy_there_is_no_site(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="hotline init"):
        policy.load(tmp_path)


def test_a_signer_is_found_by_the_key_it_signs_with(tmp_path: Path) -> None:
    text = f"schema_version: 1\nsigners:\n  - {{name: gate, public_key: {KEY}, roles: [gate]}}\n"
    signers = policy.load_signers(write(tmp_path, "signers.yaml", text))
    found = signers.with_key(KEY)
    assert found is not None and found.roles == ("gate",)
    assert signers.with_key("cd" * 32) is None


@pytest.mark.parametrize("entry", ["roles: []", "roles: [king]"])
def test_a_signer_without_a_known_role_is_refused(tmp_path: Path, entry: str) -> None:
    text = f"schema_version: 1\nsigners:\n  - {{name: gate, public_key: {KEY}, {entry}}}\n"
    with pytest.raises(PolicyError, match=r"signers\.yaml"):
        policy.load_signers(write(tmp_path, "signers.yaml", text))


def site(tmp_path: Path, more: str) -> policy.SitePolicy:
    return policy.load(write(tmp_path, "site.yaml", f"schema_version: 1\nsite: a\nprofile: demo\n{more}\n"))


def test_a_policy_holds_on_its_last_day_and_has_expired_on_the_next(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    policy.refuse_expired(site(tmp_path, ""), "judge")
    policy.refuse_expired(site(tmp_path, f"valid_until: {today + timedelta(1)}"), "judge")
    over = site(tmp_path, f"valid_until: {today - timedelta(1)}")
    with pytest.raises(PolicyError, match="the site's policy expired: it was valid until") as expired:
        policy.refuse_expired(over, "judge")
    assert expired.value.next and "valid_until renewed" in expired.value.next


def test_a_verdicts_days_are_counted_from_its_own_time(tmp_path: Path) -> None:
    reached = "2026-01-01T00:00:00+00:00"
    assert site(tmp_path, "").verdict_ends(reached) is None
    assert site(tmp_path, "verdict_days: 30").verdict_ends(reached) == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("more", ["approvals: 3", "approvals: -1", "verdict_days: 0", "valid_until: soon"])
def test_a_rule_out_of_range_is_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(PolicyError, match=r"site\.yaml"):
        site(tmp_path, more)


def test_a_key_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    entries = "".join(f"  - {{name: {name}, public_key: {KEY}, roles: [approver]}}\n" for name in ("wang", "li"))
    with pytest.raises(PolicyError, match="listed twice"):
        policy.load_signers(write(tmp_path, "signers.yaml", f"schema_version: 1\nsigners:\n{entries}"))
