"""The site's policy is read strictly: a misspelt rule is refused, never silently void."""

from __future__ import annotations

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
