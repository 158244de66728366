"""The demo's contents to review: many wordings, none of the test split's in training; harmless ones look bad, too."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from data import mapping, reviews
from data.reviews import HARMLESS, contents, held, violations
from data.tables import read_table

ROWS = reviews.generate(3000, 5)
SPLITS = ("train", "validation", "test")


def test_the_same_seed_gives_the_same_contents_and_another_others() -> None:
    assert reviews.generate(200, 5) == reviews.generate(200, 5) != reviews.generate(200, 6)


def test_the_shipped_tree_is_that_of_the_wordings() -> None:
    tree = mapping.load(reviews.MAPPING).tree()
    assert tree and set(tree.leaves) == reviews.tree()


def test_every_violation_has_many_wordings_and_each_belongs_to_one_split() -> None:
    assert len(violations()) >= 16
    for options in (*(each.phrases for each in violations()), *contents()["harmless"].values()):
        parts = [set(held(options, split)) for split in SPLITS]
        assert len(set(options)) == len(options) == sum(map(len, parts)) == len(set.union(*parts))
        assert all(len(part) >= 1 for part in parts)
    assert all(len(each.phrases) >= 30 for each in violations())


def test_half_of_the_rows_are_harmless_and_every_violation_occurs_on_every_side() -> None:
    kept = [row for row in ROWS if row["一级标签"] != "待定"]
    assert 0.45 < sum(row["一级标签"] == HARMLESS for row in kept) / len(kept) < 0.55
    seen = Counter((row["用途"], row["二级标签"]) for row in kept if row["二级标签"])
    assert len(seen) == len(SPLITS) * len(violations())


def test_harmless_rows_speak_of_violations_too() -> None:
    harmless = "".join(row["内容"] for row in ROWS if row["一级标签"] == HARMLESS)
    for word in ("诈骗", "辱骂", "赌博", "验证码", "歧视", "小广告"):
        assert word in harmless


def test_nothing_unfilled_is_left_and_a_caller_is_on_one_side() -> None:
    assert not [row for row in ROWS if re.search(r"[<>\[\]|]", row["内容"])]
    sides = {(row["来电人"], row["用途"]) for row in ROWS}
    assert len(sides) == len({caller for caller, _ in sides}) < len(ROWS)


def test_some_rows_are_invalid() -> None:
    wrong = [row for row in ROWS if not row["内容"] or row["一级标签"] == "待定"]
    assert 0.004 < len(wrong) / len(ROWS) < 0.02


def test_the_table_has_every_row(tmp_path: Path) -> None:
    reviews.write_csv(tmp_path / "r.csv", 50, 5)
    assert read_table(tmp_path / "r.csv", reviews.COLUMNS).to_dict("records") == reviews.generate(50, 5)


def test_texts_of_two_sides_are_never_nearly_the_same() -> None:
    apart = reviews.Apart()
    assert apart.fits("啊啊啊啊啊啊。", "train")
    assert apart.fits("啊啊啊啊啊啊啊", "train")
    assert not apart.fits("啊啊啊啊啊啊啊啊", "test")
    assert apart.fits("路灯坏了三天没人修", "test")
