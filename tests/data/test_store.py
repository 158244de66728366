"""A snapshot is what its digest says, or it is not opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data import columns, store
from data.manifest import Manifest
from data.report import ImportReport
from hotline.errors import ContractError, InputError, IntegrityError, UnknownName
from hotline.settings import Settings
from hotline.task import Task

Import = Callable[..., ImportReport]


def tickets(count: int) -> list[tuple[str, str, str, str]]:
    return [
        (
            f"T{n:04d}",
            "".join(chr(0x4E00 + (n * 7919 + k * 131) % 5000) for k in range(30)),
            "甲" if n % 2 else "乙",
            f"c{n}",
        )
        for n in range(count)
    ]


@pytest.fixture
def folder(run: Import, place: Settings, task: Task) -> Path:
    run(tickets(40))
    return store.corpus_folder(place, task)


def test_rows_are_typed_and_sorted_by_id(folder: Path, place: Settings, task: Task) -> None:
    rows = store.open_snapshot(place, task).rows()
    assert rows.ids == sorted(rows.ids)
    assert all(isinstance(one, task.input) for one in rows.inputs)
    assert task.input.model_validate(rows.inputs[0].model_dump()) == rows.inputs[0]
    assert task.target.model_validate(rows.targets[0].model_dump()) == rows.targets[0]
    assert set(rows.provenance) >= {"site", "call_id", "caller_id", "region", "channel", "label_batch", "dialect"}
    assert rows.provenance["site"] == ["here"] * 40


def test_splits_and_filters_cut_the_rows(folder: Path, place: Settings, task: Task) -> None:
    snapshot = store.open_snapshot(place, task)
    sizes = [len(snapshot.rows(split)) for split in columns.SPLITS]
    assert sizes == [snapshot.manifest.splits[split] for split in columns.SPLITS]
    assert sum(sizes) == 40
    assert len(snapshot.rows(where={"channel": ["unknown"]})) == 40
    assert len(snapshot.rows(where={"region": ["nowhere"]})) == 0
    with pytest.raises(InputError, match="no such provenance column"):
        snapshot.rows(where={"district": ["x"]})
    with pytest.raises(InputError, match="no such split"):
        snapshot.rows("tests")


def test_the_digest_does_not_depend_on_how_rows_are_cut(
    folder: Path, place: Settings, task: Task, monkeypatch: pytest.MonkeyPatch, run: Import
) -> None:
    whole = store.open_snapshot(place, task)
    monkeypatch.setattr(store, "SHARD_ROWS", 7)
    folder.rename(folder.with_name("moved"))
    run(tickets(40))
    cut = store.open_snapshot(place, task)
    assert len(cut.manifest.shards) == 6
    assert cut.digest == whole.digest
    assert cut.rows().digest == whole.rows().digest


def test_many_small_imports_stay_dozens_of_shards(
    place: Settings, task: Task, run: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_SHARDS", 2)
    for count in (10, 20, 30):
        run(tickets(count))
    snapshot = store.open_snapshot(place, task)
    assert (snapshot.manifest.rows, len(snapshot.manifest.shards)) == (30, 1)


def test_the_same_rows_have_the_same_bytes(folder: Path, run: Import) -> None:
    names = {path.name for path in folder.glob("rows/*")}
    folder.rename(folder.with_name("moved"))
    run(tickets(40))
    assert {path.name for path in folder.glob("rows/*")} == names


def test_a_changed_byte_is_named_with_its_shard(folder: Path, place: Settings, task: Task) -> None:
    shard = next(folder.glob("rows/*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="shard") as refused:
        store.open_snapshot(place, task)
    assert refused.value.where == str(shard)


def _forge(folder: Path, place: Settings, task: Task, change: dict[str, list[str]]) -> Manifest:
    """Rows rewritten, shard and manifest adjusted, as somebody would who knows the format."""
    snapshot = store.open_snapshot(place, task)
    table = snapshot.tables[0]
    for name, values in change.items():
        place_of = table.schema.get_field_index(name)
        table = table.set_column(place_of, table.schema.field(name), [values])
    path = folder / "rows" / "forged.parquet"
    pq.write_table(table, path)
    from hotline import digests

    shard = snapshot.manifest.shards[0].model_copy(
        update={"path": "rows/forged.parquet", "sha256": digests.of_file(path)}
    )
    forged = snapshot.manifest.model_copy(update={"shards": (shard,)})
    (folder / "snapshots" / f"{forged.digest}.json").write_text(forged.model_dump_json())
    return forged


def test_a_label_edited_behind_our_back_is_noticed(folder: Path, place: Settings, task: Task) -> None:
    _forge(folder, place, task, {"target.label": ["甲"] * 40})
    with pytest.raises(IntegrityError, match="rows differ from the snapshot's digest"):
        store.open_snapshot(place, task)


def test_a_snapshot_with_a_caller_on_two_sides_is_refused(folder: Path, place: Settings, task: Task) -> None:
    from data.snapshot import digest_of

    snapshot = store.open_snapshot(place, task)
    forged = _forge(folder, place, task, {"provenance.caller_id": ["the same"] * 40})
    table = pq.read_table(folder / "rows" / "forged.parquet")
    digest = digest_of(task, forged.tree, forged.contract, table)
    manifest = forged.model_copy(update={"digest": digest})
    (folder / "snapshots" / f"{digest}.json").write_text(manifest.model_dump_json())
    assert digest != snapshot.digest
    with pytest.raises(ContractError, match=r"provenance\.caller_id are on two sides"):
        store.open_snapshot(place, task, digest)


def test_an_edited_label_tree_is_noticed(folder: Path, place: Settings, task: Task) -> None:
    next(folder.glob("labels/*.json")).write_text('["甲"]')
    with pytest.raises(IntegrityError, match="label tree"):
        _ = store.open_snapshot(place, task).tree


def test_a_missing_snapshot_names_the_next_command(place: Settings, task: Task, run: Import) -> None:
    with pytest.raises(UnknownName, match="no snapshot") as refused:
        store.open_snapshot(place, task)
    assert (refused.value.next or "").startswith("hotline import ticket_category")
    run(tickets(5))
    with pytest.raises(UnknownName) as refused:
        store.open_snapshot(place, task, "0123")
    assert refused.value.next == "hotline data versions ticket_category"


def test_versions_are_newest_first_and_open_by_the_beginning_of_their_digest(
    place: Settings, task: Task, run: Import
) -> None:
    first, second = run(tickets(10)), run(tickets(20))
    found = store.versions(place, task)
    assert [manifest.digest for manifest in found] == [second.snapshot, first.snapshot]
    assert store.head(place, task) == second.snapshot
    assert found[0].parent == first.snapshot
    assert [summary.rows_in for summary in found[0].imports] == [10, 20]
    assert len(store.open_snapshot(place, task, first.snapshot[:12]).rows()) == 10


def test_the_digest_of_rows_is_of_ids_and_targets(folder: Path, place: Settings, task: Task, run: Import) -> None:
    before = store.open_snapshot(place, task).rows().digest
    relabelled = [(*row[:2], "甲", row[3]) for row in tickets(40)]
    run(relabelled)
    assert store.open_snapshot(place, task).rows().digest != before
