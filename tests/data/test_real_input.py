"""Files that nobody here wrote go through the same verbs, and their counts add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from data import mapping as mappings
from data import store
from data.ingest import import_table
from hotline.settings import Settings
from hotline.task import Task

MAPPINGS = Path(mappings.__file__).parent / "mappings"


def test_segmented_and_labelled_messages_share_a_corpus(real_data: Path, place: Settings, task: Task) -> None:
    folder = real_data / "tickets" / "teddycup"
    segmented = mappings.load(MAPPINGS / "teddycup_segmented.yaml")
    labelled = mappings.load(MAPPINGS / "teddycup_labelled.yaml")
    first = import_table(place, task, segmented, [folder / "segmented_8160.tsv.gz"])
    assert (first.rows_in, first.kept, first.quarantined) == (8160, 8160, 0)
    second = import_table(place, task, labelled, [folder / "labelled_495.xlsx"])
    assert (second.rows_in, second.kept + second.quarantined) == (495, 495)
    assert list(second.reasons) in ([], ["id: repeated"])
    snapshot = store.open_snapshot(place, task)
    assert snapshot.manifest.rows == 8160 + second.kept
    assert len(snapshot.tree.leaves) == 7
    again = import_table(place, task, segmented, [folder / "segmented_8160.tsv.gz"])
    assert (again.unchanged, again.snapshot) == (8160, second.snapshot)


def test_a_taxonomy_of_517_leaves_is_a_label_tree(real_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    taxonomy = real_data / "tickets" / "teddycup" / "taxonomy.xlsx"
    levels = "levels: [一级分类, 二级分类, 三级分类]"
    path.write_text(f"columns: {{input.text: a, target.label: b}}\nlabels: {{path: {taxonomy}, {levels}}}\n")
    tree = mappings.load(path).tree()
    assert tree is not None
    assert len({leaf.split("/")[0] for leaf in tree.leaves}) == 15
    assert 510 <= len(tree.leaves) <= 517


def test_ten_thousand_english_requests_with_gaps(real_data: Path, place: Settings, task: Task) -> None:
    mapping = mappings.load(MAPPINGS / "sf311.yaml")
    report = import_table(place, task, mapping, [real_data / "tickets" / "sf311_10000.csv.gz"])
    assert report.rows_in == 10_000 == report.kept + report.quarantined
    rows = store.open_snapshot(place, task).rows(where={"language": ["en"]})
    assert len(rows) == report.kept
    assert len(set(rows.provenance["channel"])) > 3


@pytest.mark.parametrize("name", ["messages_4326.xlsx", "replies_120.xlsx"])
def test_every_spreadsheet_of_the_contest_can_be_read(real_data: Path, name: str) -> None:
    from data.tables import read_table

    table = read_table(real_data / "tickets" / "teddycup" / name)
    assert len(table) == int(name.split("_")[1].split(".")[0])
    assert not [cell for cell in table.iloc[:, 2] if cell != cell.strip()]
