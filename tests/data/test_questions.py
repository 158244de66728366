"""The demo's questions: many wordings for every entry, and the test asks in others than training has."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from data import mapping as mappings
from data import questions
from data.tables import read_table
from hotline import labels

ROWS = questions.generate(3000, 5)
*ENTRIES, NONE = questions.entries()


def of(split: str) -> list[dict[str, str]]:
    return [row for row in ROWS if row["集合"] == split]


def test_the_same_seed_gives_the_same_questions_and_another_others() -> None:
    assert questions.generate(200, 5) == questions.generate(200, 5)
    assert questions.generate(200, 5) != questions.generate(200, 6)


def test_there_are_many_entries_each_with_many_wordings() -> None:
    assert len(ENTRIES) >= 30
    assert len({entry.path[0] for entry in ENTRIES}) >= 10
    assert all(len(entry.said) >= 8 and len(entry.held) >= 4 for entry in ENTRIES)


def test_no_wording_is_on_two_sides() -> None:
    for entry in (*ENTRIES, NONE):
        sides = [set(entry.phrases(split)) for split in questions.SPLITS]
        assert all(sides)
        assert sum(map(len, sides)) == len(set.union(*sides))


def test_the_shipped_tree_is_that_of_the_entries() -> None:
    tree = mappings.load(questions.MAPPING).tree()
    assert tree is not None and tree.none is not None
    assert set(tree.leaves) == {labels.join(entry.path) for entry in questions.entries()}


def test_every_entry_is_asked_in_training_and_in_test_and_a_quarter_has_none() -> None:
    for split in ("train", "test"):
        asked = Counter(row["条目"] for row in of(split))
        assert set(asked) == {entry.path[1] for entry in ENTRIES} | {""}
        assert 0.18 < asked[""] / len(of(split)) < 0.32


def test_the_language_is_rich_and_nothing_unfilled_is_left() -> None:
    texts = [row["问题"] for row in ROWS]
    assert len(set(texts)) > 0.9 * len(texts)
    assert not [text for text in texts if re.search(r"[<>\[\]|]", text)]
    assert {row["区域"] for row in ROWS} == {"云泽区", "临岚区", "望潮区", "锦川区", "香江区"}


def test_the_spreadsheet_has_every_question(tmp_path: Path) -> None:
    questions.write_xlsx(tmp_path / "q.xlsx", 50, 5)
    assert read_table(tmp_path / "q.xlsx", questions.COLUMNS).to_dict("records") == questions.generate(50, 5)
