"""`hotline import`: rows in = kept + quarantined, nothing is lost silently, and a second import adds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data import store
from data.ingest import import_table
from data.mapping import Mapping
from data.report import ImportReport
from hotline.errors import ContractError, InputError
from hotline.settings import Settings
from hotline.task import Task

from_file = "labels: {path: tree.yaml}\n"
Import = Callable[..., ImportReport]
MAPPING = (
    "columns: {id: id, input.text: text, target.label: label, provenance.caller_id: caller}\nmax_quarantined: 0.9\n"
)


def tickets(count: int, start: int = 0) -> list[tuple[str, str, str, str]]:
    """Tickets that have nothing in common, each of a caller of its own."""
    return [
        (
            f"T{n:04d}",
            "".join(chr(0x4E00 + (n * 7919 + k * 131) % 5000) for k in range(30)),
            "甲" if n % 2 else "乙",
            f"c{n}",
        )
        for n in range(start, start + count)
    ]


def quarantined(place: Settings) -> list[dict[str, object]]:
    lines = [line for path in place.quarantine.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_every_row_that_is_not_kept_has_a_reason_and_a_place(run: Import, place: Settings) -> None:
    good = tickets(20)
    report = run(
        [*good, ("X1", "", "甲", "c"), ("", "没有编号的一行", "甲", "c"), (good[0][0], "编号重复的一行", "甲", "c")]
    )
    assert (report.rows_in, report.kept, report.quarantined) == (23, 20, 3)
    found = {line["row"]: line["reasons"][0] for line in quarantined(place)}
    assert found[21].startswith("input.text: found ''")
    assert found[22] == "id: found an empty cell in id"
    assert found[23] == "id: repeated (row 1 of rows.csv has T0000 too)"


def test_importing_the_same_file_again_adds_nothing(run: Import, place: Settings, task: Task) -> None:
    first, again = run(tickets(30)), run(tickets(30))
    assert again.snapshot == first.snapshot
    assert (again.new, again.updated, again.unchanged) == (0, 0, 30)
    assert len(store.versions(place, task)) == 1


def test_the_same_rows_from_another_delivery_are_unchanged(run: Import) -> None:
    first = run(tickets(10))
    assert run(tickets(10), name="delivered-again.csv").snapshot == first.snapshot


def test_a_label_fix_supersedes_and_rewrites_only_the_table_of_rows(run: Import, place: Settings, task: Task) -> None:
    first = run(tickets(30))
    signatures = sorted((store.corpus_folder(place, task) / "signatures").rglob("*.parquet"))
    fixed = [(*row[:2], "乙", row[3]) if row[0] == "T0001" else row for row in tickets(30)]
    second = run(fixed)
    assert (second.new, second.updated, second.unchanged) == (0, 1, 29)
    assert sorted((store.corpus_folder(place, task) / "signatures").rglob("*.parquet")) == signatures
    found = store.diff(place, task, first.snapshot[:10], second.snapshot)
    assert (found.relabelled, found.added, found.removed, found.moved_split) == ({"甲 → 乙": 1}, 0, 0, 0)


def test_no_row_ever_moves_to_another_side(run: Import, place: Settings, task: Task) -> None:
    first = run(tickets(60))
    for start in (60, 90, 120):
        last = run(tickets(30, start), name=f"{start}.csv")
    found = store.diff(place, task, first.snapshot, last.snapshot)
    assert (found.added, found.moved_split, found.removed) == (90, 0, 0)


def test_rows_without_numbers_of_their_own_are_told_apart_and_known_again(run: Import) -> None:
    mapping = "columns: {input.text: text, target.label: label}\n"
    rows = [*tickets(10), tickets(10)[0]]
    first = run(rows, mapping=mapping)
    assert (first.new, first.largest_cluster) == (11, 2)
    again = run(rows, mapping=mapping)
    assert (again.unchanged, again.snapshot) == (11, first.snapshot)


def test_a_label_outside_the_tree_is_quarantined_with_the_nearest_leaf(run: Import, place: Settings) -> None:
    (place.workspace / "tree.yaml").write_text("城建: [路灯, 井盖]\n甲:\n乙:\n", encoding="utf-8")
    report = run([*tickets(8), ("X", "路灯不亮很久了请来修", "城建/路灯灯", "c")], mapping=MAPPING + from_file)
    assert report.quarantined == 1
    assert "nearest: 城建/路灯" in str(quarantined(place)[0]["reasons"])


def test_a_tree_that_forgets_stored_labels_is_refused(run: Import, place: Settings) -> None:
    run(tickets(8))
    (place.workspace / "tree.yaml").write_text("[甲]\n", encoding="utf-8")
    with pytest.raises(ContractError, match="not in the label tree"):
        run(tickets(8), mapping=MAPPING + from_file)


def test_too_many_quarantined_rows_store_nothing(run: Import, place: Settings, task: Task) -> None:
    with pytest.raises(ContractError) as refused:
        run([*tickets(5), *[(f"X{n}", "", "甲", "c") for n in range(5)]], mapping=MAPPING.replace("0.9", "0.2"))
    assert "5 of 10 rows" in refused.value.what
    assert "5 rows: input.text" in (refused.value.found or "")
    assert Path(refused.value.where or "").is_file()
    assert "hotline import" in (refused.value.next or "")
    assert store.head(place, task) is None


def test_text_over_the_limit_is_quarantined_with_what_was_expected(run: Import, place: Settings) -> None:
    run([*tickets(5), ("X", "长" * 20_001, "甲", "c")])
    assert "at most 20000 characters" in str(quarantined(place)[0]["reasons"])


def test_personal_data_is_nowhere_in_what_is_stored(run: Import, place: Settings, task: Task) -> None:
    number, identity = "13812345678", "11010119900307803X"
    rows = [
        *tickets(10),
        ("P1", f"请打我电话{number}谢谢，证件{identity}，路灯一直不亮", "甲", number),
        (number, "号码做了编号的一行工单内容", "甲", "+86 138 1234 5678"),
        ("P3", f"标签里有电话的一行{number}", f"甲{number}", number),
        ("P4", "", "甲", number),
    ]
    report = run(rows)
    assert report.quarantined == 2
    stored = store.open_snapshot(place, task).rows()
    everything = str(store.open_snapshot(place, task).table.to_pylist()) + str(quarantined(place))
    assert number not in everything
    assert identity not in everything
    one = stored.ids.index("P1")
    same = [caller for caller in stored.provenance["caller_id"] if caller == stored.provenance["caller_id"][one]]
    assert len(same) == 2  # both spellings of one caller
    files = [path.read_bytes() for path in place.workspace.rglob("*") if path.is_file() and path.suffix != ".csv"]
    assert not any(number.encode() in content for content in files)


def test_a_caller_is_on_one_side_over_many_imports(run: Import, place: Settings, task: Task) -> None:
    for start in range(0, 120, 30):
        rows = [(id, text, label, f"c{number % 9}") for number, (id, text, label, _) in enumerate(tickets(30, start))]
        run(rows, name=f"{start}.csv")
    stored = store.open_snapshot(place, task).rows()
    sides = {caller: set[str]() for caller in stored.provenance["caller_id"]}
    for caller, split in zip(stored.provenance["caller_id"], stored.splits, strict=True):
        sides[caller].add(split)
    assert all(len(found) == 1 for found in sides.values())


def test_a_given_split_with_a_caller_on_both_sides_is_refused(run: Import, place: Settings, task: Task) -> None:
    header = ("id", "text", "label", "caller", "side")
    mapping = MAPPING.replace("{id: id", "{split: side, id: id")
    rows = [(*row, "train" if number % 3 else "test") for number, row in enumerate(tickets(12))]
    assert run(rows, mapping=mapping, header=header).splits == {"train": 8, "validation": 0, "test": 4}
    clash = [*rows, ("N1", "又来反映另一件完全不同的事情", "甲", "c0", "train")]
    with pytest.raises(ContractError, match="someone on two sides") as refused:
        run(clash, mapping=mapping, header=header)
    assert "row N1 through caller_id:" in (refused.value.found or "")
    assert store.open_snapshot(place, task).manifest.rows == 12


def test_a_new_row_between_two_sides_is_quarantined(run: Import, place: Settings, task: Task) -> None:
    run(tickets(60))
    stored = store.open_snapshot(place, task).rows()
    sides = dict(zip(stored.ids, stored.splits, strict=True))
    one = next(row for row in tickets(60) if sides[row[0]] == "train")
    other = next(row for row in tickets(60) if sides[row[0]] == "test")
    report = run([("N", one[1], "甲", other[3]), *tickets(3, 200)], name="more.csv")
    assert report.quarantined == 1
    assert "binds rows on two sides (test and train)" in str(quarantined(place)[0]["reasons"])


def test_without_rows_or_files_it_says_so(
    run: Import, place: Settings, task: Task, mapped: Callable[..., Mapping]
) -> None:
    with pytest.raises(InputError, match="no rows"):
        run([])
    with pytest.raises(InputError, match="which file"):
        import_table(place, task, mapped())


bad = st.sampled_from([("", ""), ("好", "甲"), ("一条正常的工单内容", ""), ("长" * 20_001, "甲")])
good = st.tuples(st.text("路灯坏了垃圾停水电话学校医院", min_size=2, max_size=30), st.sampled_from("甲乙丙"))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(good, good, bad), min_size=1, max_size=15))
def test_rows_in_are_always_kept_plus_quarantined(run: Import, place: Settings, rows: list[tuple[str, str]]) -> None:
    before = len(quarantined(place))
    try:
        report = run(
            [(str(n), text, label, "c") for n, (text, label) in enumerate(rows)], name=f"{abs(hash(str(rows)))}.csv"
        )
    except ContractError:
        assert len(quarantined(place)) > before
        return
    assert report.rows_in == len(rows) == report.kept + report.quarantined
    assert report.kept == report.new + report.updated + report.unchanged
