"""What people are asked without names, and what their answers are worth: blind review and disagreement audit."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from data import store
from data.relabel import moved
from evaluation import audit, review, sheets
from evaluation.blind import Key, key_path
from evaluation.compare import Comparison, System
from hotline import settings
from hotline.errors import InputError, IntegrityError, RefusedError
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.task import Answer
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK
from hotline.tasks.tickets.ticket_category import Category

Fill = Callable[[dict[str, str], Any], Mapping[str, str]]
ASKED = 24


def _system(line: str, labels: Sequence[str]) -> System:
    address = ModelAddress(line=line, version="1", digest="0" * 64, files={}, run_id="run")
    return System(address, (), (), None, tuple(Answer(target=Category(label=each), confidence=0.5) for each in labels))


@pytest.fixture
def here(workspace: Settings, tmp_path: Path) -> Settings:
    """A copy of the workspace with its corpus, free to be changed."""
    return settings.load(Path(shutil.copytree(workspace.workspace, tmp_path / "here")))


@pytest.fixture
def comparison(here: Settings) -> Comparison:
    """The second version is wrong in ASKED rows, by their references; else both are right."""
    snapshot = store.open_snapshot(here, TASK)
    rows = snapshot.rows("test")
    true = [str(getattr(target, "label")) for target in rows.targets]  # noqa: B009
    leaves = snapshot.tree.leaves
    said = [leaves[leaves.index(label) - 1] if number < ASKED else label for number, label in enumerate(true)]
    systems = (_system("champion", true), _system("candidate", said))
    return Comparison(TASK.name, {}, snapshot.digest, rows.digest, len(rows), systems, TASK, rows)


def _filled(sheet: Path, fill: Fill) -> Path:
    """The sheet as it comes back: `fill` is given each line and its item in the key."""
    key = Key.model_validate_json(key_path(sheet).read_text(encoding="utf-8"))
    with sheet.open(encoding="utf-8-sig", newline="") as stream:
        lines = [{**line, **fill(line, key.items[line["item"]])} for line in csv.DictReader(stream)]
    back = sheet.with_name("back.csv")
    with back.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return back


def _side(item: Any, who: str) -> int:
    return next(number for number, option in enumerate(item.options) if who in option.who)


def test_a_sheet_names_no_version_and_both_sides_are_used(comparison: Comparison, tmp_path: Path) -> None:
    made = sheets.export(comparison, "review", tmp_path / "pairs.csv", rows=20, seed=3)
    text = made.sheet.read_text(encoding="utf-8-sig")
    assert "champion" not in text and "candidate" not in text
    assert (made.items, made.differing) == (20, ASKED)
    key = Key.model_validate_json(made.key.read_text(encoding="utf-8"))
    assert {_side(item, "b") for item in key.items.values()} == {0, 1}
    assert made.key.stat().st_mode & 0o077 == 0
    again = sheets.export(comparison, "review", tmp_path / "again.csv", rows=20, seed=3)
    assert again.sheet.read_bytes() == made.sheet.read_bytes()


def test_a_preferred_version_wins_with_an_interval(comparison: Comparison, tmp_path: Path) -> None:
    made = sheets.export(comparison, "review", tmp_path / "pairs.csv", rows=20, seed=3)
    back = _filled(made.sheet, lambda line, item: {"preferred": review.SIDES[_side(item, "b")]})
    found = review.read(back, made.key)
    assert (found.b_wins, found.a_wins, found.ties) == (20, 0, 0)
    assert found.words == "candidate@1 is preferred"
    assert found.win_rate.low is not None and 0.5 < found.win_rate.low < 1
    ties = review.read(_filled(made.sheet, lambda line, item: {"preferred": "平"}), made.key)
    assert (ties.ties, ties.win_rate.estimate, ties.words) == (20, 0.5, "no preference is shown")


@pytest.mark.parametrize("found", ["missing", "unknown", "answered twice", "not answered", "neither left"])
def test_a_sheet_that_does_not_answer_every_item_once_is_refused(
    comparison: Comparison, tmp_path: Path, found: str
) -> None:
    made = sheets.export(comparison, "review", tmp_path / "pairs.csv", rows=5, seed=0)
    lines = [{"item": str(number), "preferred": "left"} for number in range(1, 6)]
    broken = {
        "missing": lines[:-1],
        "unknown": [*lines, {"item": "77", "preferred": "left"}],
        "answered twice": [*lines, lines[0]],
        "not answered": [*lines[:-1], {"item": "5", "preferred": ""}],
        "neither left": [*lines[:-1], {"item": "5", "preferred": "both"}],
    }[found]
    back = tmp_path / "back.jsonl"
    back.write_text("".join(json.dumps(line) + "\n" for line in broken), encoding="utf-8")
    with pytest.raises(InputError, match="does not answer every item once") as error:
        review.read(back, made.key)
    assert found in str(error.value.found)


def test_an_edited_key_is_named(comparison: Comparison, tmp_path: Path) -> None:
    made = sheets.export(comparison, "review", tmp_path / "pairs.csv", rows=5, seed=0)
    made.key.write_text(made.key.read_text(encoding="utf-8").replace('"a"', '"b"', 1), encoding="utf-8")
    with pytest.raises((IntegrityError, InputError)):
        review.read(made.sheet, made.key)
    with pytest.raises(InputError, match="hotline review"):
        audit_key = sheets.export(comparison, "review", tmp_path / "pairs.csv", rows=5, seed=0).key
        audit.bring_back(
            Settings(workspace=tmp_path, tracking_uri="", ledger_url="", keys=tmp_path), made.sheet, audit_key
        )


def test_versions_that_never_differ_give_nothing_to_ask(comparison: Comparison, tmp_path: Path) -> None:
    same = Comparison(**{**vars(comparison), "systems": (comparison.systems[0], comparison.systems[0])})
    with pytest.raises(RefusedError, match="never differ"):
        sheets.export(same, "audit", tmp_path / "audit.csv", rows=None, seed=0)


def test_wrong_references_become_a_corrected_snapshot(comparison: Comparison, here: Settings, tmp_path: Path) -> None:
    made = sheets.export(comparison, "audit", tmp_path / "audit.csv", rows=None, seed=1)
    key = Key.model_validate_json(made.key.read_text(encoding="utf-8"))
    assert "champion" not in made.sheet.read_text(encoding="utf-8-sig")
    leaf = store.open_snapshot(here, TASK).tree.leaves[0]

    def checked(line: dict[str, str], item: Any) -> Mapping[str, str]:
        """Of 24 references the first 10 are confirmed, 8 were wrong and the candidate right, the rest is as follows."""
        number = int(line["item"])
        right = _side(item, "reference") if number <= 10 else _side(item, "b")
        special = {
            19: {"right": "0", "correction": leaf},
            20: {"right": "0", "correction": "no/such/leaf"},
            21: {"right": "7"},
            22: {"right": "0"},
            23: {"right": ""},
            24: {"right": "", "correction": "13812345678 的路灯"},
        }
        return special.get(number, {"right": str(right + 1)})

    before = store.open_snapshot(here, TASK)
    found = audit.bring_back(here, _filled(made.sheet, checked), made.key)
    assert (found.items, found.checked, found.wrong_references) == (ASKED, 19, 9)
    assert (found.regressions.checked, found.regressions.wrong_references, found.regressions.still) == (19, 9, 11 - 1)
    assert found.lines == ASKED
    assert found.quarantined == 4
    assert found.quarantine is not None
    kept = [json.loads(line) for line in Path(found.quarantine).read_text(encoding="utf-8").splitlines()]
    assert [line["row"] for line in kept] == [20, 21, 22, 24]
    assert "13812345678" not in Path(found.quarantine).read_text(encoding="utf-8")

    after = store.open_snapshot(here, TASK)
    assert after.digest == found.snapshot != before.digest
    changed = store.diff(here, TASK, before.digest, after.digest)
    assert (sum(changed.relabelled.values()), changed.added, changed.removed, changed.moved_split) == (9, 0, 0, 0)
    rows = after.rows("test")
    ids = {key.items[str(number)].id for number in range(11, 20)}
    sources = {
        id: (rows.provenance["label_source"][n], rows.provenance["label_batch"][n]) for n, id in enumerate(rows.ids)
    }
    assert {sources[id] for id in ids} == {("human", f"audit-{key.seal[:12]}")}


def test_a_row_corrected_since_the_export_is_left_alone(comparison: Comparison, here: Settings, tmp_path: Path) -> None:
    made = sheets.export(comparison, "audit", tmp_path / "audit.csv", rows=4, seed=1)
    back = _filled(made.sheet, lambda line, item: {"right": str(_side(item, "b") + 1)})
    first = audit.bring_back(here, back, made.key)
    again = audit.bring_back(here, back, made.key)
    assert (first.relabelled, again.relabelled, again.snapshot) == (4, 0, first.snapshot)
    assert (first.regressions.still, first.quarantined) == (0, 0)


def test_two_lines_that_contradict_each_other_count_for_nothing(
    comparison: Comparison, here: Settings, tmp_path: Path
) -> None:
    made = sheets.export(comparison, "audit", tmp_path / "audit.jsonl", rows=3, seed=1)
    lines = [{"item": "1", "right": "1", "correction": ""}, {"item": "1", "right": "2", "correction": ""}]
    made.sheet.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = audit.bring_back(here, made.sheet, made.key)
    assert (found.checked, found.quarantined, found.relabelled) == (0, 2, 0)


def test_spans_move_with_their_text() -> None:
    old, new = "请到天河路十号", "麻烦请到天河路九号"
    entities = [{"start": 2, "end": 5, "kind": "place"}, {"start": 5, "end": 6, "kind": "number"}]
    assert moved(entities, old, new) == [{"start": 4, "end": 7, "kind": "place"}]
