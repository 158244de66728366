"""Calls of before through a candidate: agreement, pace and the worst pairs, before anybody else is asked."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from data.store import open_snapshot
from hotline.errors import InputError, RefusedError
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.tasks import find
from pipelines.replay import replay

TASK = find("ticket_category")


@pytest.fixture
def here(workspace_copy: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOTLINE_WORKSPACE", str(workspace_copy.workspace))
    return workspace_copy


def calls(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path


def test_captured_answers_are_compared_per_dialect_with_the_ten_worst_pairs(
    here: Settings, candidate: ModelAddress, tmp_path: Path
) -> None:
    rows = open_snapshot(here, TASK).rows("test")
    captured = [
        {"input": dict(question), "answer": {"label": "nothing/at all"}, "dialect": "hak"}
        for question in rows.inputs[:12]
    ]
    first = replay(TASK, candidate, calls(tmp_path / "a.jsonl", *captured))
    assert first["agreement"]["hak"] == first["agreement"]["all"]
    assert (first["calls"], first["failed"], first["agreement"]["hak"]["alike"]) == (12, 0, 0)
    said = [pair["candidate"] for pair in first["worst"]["hak"]]
    assert len(said) == 10
    assert first["seconds"]["p50"] > 0

    again = [{**call, "answer": pair, "dialect": "cmn"} for call, pair in zip(captured, said, strict=False)]
    same = replay(TASK, candidate, calls(tmp_path / "b.jsonl", *again))
    assert same["agreement"]["cmn"]["share"] == 1.0
    assert same["worst"] == {"cmn": []}


def test_the_page_shows_the_pairs_to_its_owner_only(here: Settings, candidate: ModelAddress, tmp_path: Path) -> None:
    call = {"text": "小区<门口>的路灯坏了", "answer": {"label": "nothing"}}
    page = Path(replay(TASK, candidate, calls(tmp_path / "a.jsonl", call))["page"])
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert here.state in page.parents
    assert "小区&lt;门口&gt;的路灯坏了" in page.read_text()


def test_calls_without_answers_need_a_champion(here: Settings, candidate: ModelAddress, tmp_path: Path) -> None:
    (here.state / "ledger.db").unlink(missing_ok=True)
    here.ledger_head.unlink(missing_ok=True)
    here.followed_head.unlink(missing_ok=True)
    with pytest.raises(RefusedError, match="no champion"):
        replay(TASK, candidate, calls(tmp_path / "a.jsonl", {"text": "路灯坏了"}))


def test_a_table_without_the_named_column_is_refused(here: Settings, candidate: ModelAddress, tmp_path: Path) -> None:
    table = tmp_path / "calls.csv"
    table.write_text("内容,dialect\n路灯坏了,hak\n井盖丢了,cmn\n", encoding="utf-8")
    with pytest.raises(InputError, match="lacks a mapped column"):
        replay(TASK, candidate, table, ["text"])


@pytest.mark.parametrize("line", [["路灯"], {"tekst": "路灯坏了"}, {"input": {"text": 3}}, {"input": None}])
def test_a_line_that_is_no_call_is_named(here: Settings, candidate: ModelAddress, tmp_path: Path, line: object) -> None:
    good = {"text": "路灯坏了", "answer": {"label": "a"}}
    with pytest.raises(InputError, match="this line is no call") as refused:
        replay(TASK, candidate, calls(tmp_path / "a.jsonl", good, line))
    assert "line 2" in str(refused.value)
