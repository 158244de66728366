"""Keys sign, are readable by their owner only, and are never overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from hotline import keys
from hotline.errors import PolicyError


def test_a_signature_holds_for_its_text_and_its_key_only(tmp_path: Path) -> None:
    key, other = keys.create(tmp_path, "gate"), keys.create(tmp_path, "operator")
    signature = key.sign("路燈")
    assert keys.valid(key.public, "路燈", signature)
    assert not keys.valid(key.public, "路灯", signature)
    assert not keys.valid(other.public, "路燈", signature)
    assert not keys.valid("nonsense", "路燈", signature)
    assert not keys.valid(key.public, "路燈", "zz")


def test_a_key_is_read_by_its_owner_only_and_comes_back_the_same(tmp_path: Path) -> None:
    key = keys.create(tmp_path / "keys", "gate")
    path = tmp_path / "keys" / "gate.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.load(tmp_path / "keys", "gate").public == key.public


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    keys.create(tmp_path, "gate")
    with pytest.raises(PolicyError, match="there is a gate key already"):
        keys.create(tmp_path, "gate")


@pytest.mark.parametrize("content", [None, "", "not hex", "ab"])
def test_a_missing_or_damaged_key_names_the_command_that_makes_one(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "gate.key").write_text(content)
    with pytest.raises(PolicyError, match="hotline keys new gate"):
        keys.load(tmp_path, "gate")


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    first = keys.secret(tmp_path / "keys", "surrogates")
    assert len(first) == 32
    assert keys.secret(tmp_path / "keys", "surrogates") == first
    assert keys.secret(tmp_path / "keys", "callers") != first


def test_a_persons_own_key_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    made = keys.create(tmp_path / "keys", "wang")
    path = tmp_path / "keys" / "wang.key"
    assert {keys.load(tmp_path / "keys", name).public for name in ("wang", str(path))} == {made.public}
    with pytest.raises(PolicyError, match="hotline keys new approver --name li"):
        keys.load(tmp_path / "keys", "li", "approver")
