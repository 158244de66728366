"""The exported head says how long the ledger was at least."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotline import heads
from hotline.errors import IntegrityError

HASHES = [f"{number:064x}" for number in range(1, 4)]


def test_an_exported_head_comes_back_and_never_moves_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.head"
    assert heads.read(path) is None
    for seq in (2, 3, 1):
        heads.export(path, seq, HASHES[seq - 1])
    found = heads.read(path)
    assert found is not None and (found.seq, found.hash) == (3, HASHES[2])
    assert [other.name for other in tmp_path.iterdir()] == ["ledger.head"]


def test_a_chain_that_goes_on_from_the_exported_head_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "ledger.head"
    heads.check(path, HASHES)
    heads.export(path, 2, HASHES[1])
    heads.check(path, HASHES)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (HASHES[:2], "ledger entry 3: the ledger was truncated"),
        ([*HASHES[:2], "f" * 64], "another entry stands in its"),
    ],
)
def test_a_chain_without_the_exported_entry_is_named(tmp_path: Path, chain: list[str], words: str) -> None:
    path = tmp_path / "ledger.head"
    heads.export(path, 3, HASHES[2])
    with pytest.raises(IntegrityError, match=words) as broken:
        heads.check(path, chain)
    assert broken.value.where == str(path)


@pytest.mark.parametrize("text", ["", "{}", '{"seq": 0, "hash": "x"}', '{"seq": 1}'])
def test_a_head_that_says_nothing_is_refused_and_not_taken_for_an_empty_ledger(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.head"
    path.write_text(text)
    with pytest.raises(IntegrityError, match="cannot be read"):
        heads.check(path, HASHES)
