"""Files that nobody here wrote go through the same verbs, and their counts add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from data import mapping as mappings
from data import store
from data.ingest import import_table
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find

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


@pytest.mark.parametrize(
    ("archive", "mapping", "clips", "seconds"),
    [
        ("fsdd_en_digits_8khz", "fsdd", 1_500, 654),
        ("cmn_words_syllables", "cmn_syllables", 2_273, 2_554),
        pytest.param("yue_syllables_48khz", "yue_syllables", 5_358, 6_363, marks=pytest.mark.slow),
    ],
)
def test_a_published_set_of_clips_is_imported_completely(
    real_data: Path, place: Settings, archive: str, mapping: str, clips: int, seconds: int
) -> None:
    speech = find("transcription")
    report = import_table(
        place, speech, mappings.load(MAPPINGS / f"{mapping}.yaml"), [real_data / "speech" / f"{archive}.zip"]
    )
    assert (report.rows_in, report.kept, report.quarantined) == (clips, clips, 0)
    snapshot = store.open_snapshot(place, speech)
    assert sum(shard.clips for shard in snapshot.manifest.audio) == clips
    assert sum(row.audio.seconds for row in snapshot.rows().inputs) == pytest.approx(seconds, abs=1)  # type: ignore[attr-defined]


def test_three_speakers_of_digits_are_each_on_one_side(real_data: Path, place: Settings) -> None:
    speech = find("transcription")
    mapping = mappings.load(MAPPINGS / "fsdd.yaml")
    import_table(place, speech, mapping, [real_data / "speech" / "fsdd_en_digits_8khz.zip"])
    rows = store.open_snapshot(place, speech).rows()
    assert len(set(rows.provenance["caller_id"])) == 3
    assert len(set(zip(rows.provenance["caller_id"], rows.splits, strict=True))) == 3
    assert {target.text for target in rows.targets} == set("0123456789")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["messages_4326.xlsx", "replies_120.xlsx"])
def test_every_spreadsheet_of_the_contest_can_be_read(real_data: Path, name: str) -> None:
    from data.tables import read_table

    table = read_table(real_data / "tickets" / "teddycup" / name)
    assert len(table) == int(name.split("_")[1].split(".")[0])
    assert not [cell for cell in table.iloc[:, 2] if cell != cell.strip()]
