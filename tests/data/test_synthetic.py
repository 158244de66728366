"""The demo's tickets: rich enough to be worth learning, and never the same sentence on both sides."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import yaml

from data import synthetic
from data.wordings import leaves
from hotline import labels

TICKETS = synthetic.generate(3000, 5)


def test_the_same_seed_gives_the_same_tickets_and_another_others() -> None:
    assert synthetic.generate(200, 5) == synthetic.generate(200, 5)
    assert synthetic.generate(200, 5) != synthetic.generate(200, 6)


def test_there_are_many_leaves_each_with_many_phrases() -> None:
    assert len(leaves()) >= 44
    assert all(len(leaf.phrases) >= 8 and len(leaf.cantonese) >= 2 for leaf in leaves())
    assert len({leaf.path[0] for leaf in leaves()}) == 9


def test_the_shipped_tree_is_that_of_the_phrases() -> None:
    path = synthetic.MAPPING.parent / "tickets_tree.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    shipped = {(one, two, three) for one, below in tree.items() for two, last in below.items() for three in last}
    assert shipped == {leaf.path for leaf in leaves()}


def test_nothing_unfilled_is_left_in_a_message() -> None:
    assert not [ticket for ticket in TICKETS if re.search(r"[<>\[\]|]", ticket["诉求内容"])]


def test_messages_are_as_long_as_people_write() -> None:
    lengths = [len(ticket["诉求内容"]) for ticket in TICKETS if ticket["诉求内容"]]
    assert min(lengths) >= 20
    assert max(lengths) <= 180  # a repeated message has a few characters more


def test_every_region_and_channel_speaks() -> None:
    assert len(Counter(ticket["区域"] for ticket in TICKETS)) == 5
    assert set(Counter(ticket["渠道"] for ticket in TICKETS)) == {"电话", "网站", "微信", "app"}
    cantonese = [ticket["诉求内容"] for ticket in TICKETS if ticket["区域"] == "香江区" and ticket["诉求内容"]]
    assert sum(bool(re.search("[嘅唔喺冇係咗啲]", text)) for text in cantonese) / len(cantonese) > 0.9


def test_some_callers_call_again_about_other_matters() -> None:
    calls: dict[str, set[str]] = {}
    for ticket in TICKETS:
        calls.setdefault(ticket["来电人"], set()).add(ticket["三级分类"])
    assert sum(len(matters) > 1 for matters in calls.values()) > 100


def test_the_language_is_rich() -> None:
    found = synthetic.stats(TICKETS)
    assert found["distinct_messages"] > 0.98 * found["messages"]
    assert found["characters"] > 1500
    assert found["character_pairs"] > 12_000


def test_some_rows_are_invalid(tmp_path: Path) -> None:
    tree = {labels.join(leaf.path) for leaf in leaves()}
    columns = ("一级分类", "二级分类", "三级分类")
    wrong = [t for t in TICKETS if not t["诉求内容"] or labels.join(t[c] for c in columns) not in tree]
    assert 0.004 < len(wrong) / len(TICKETS) < 0.02


def test_the_spreadsheet_has_every_ticket(tmp_path: Path) -> None:
    from data.tables import read_table

    synthetic.write_xlsx(tmp_path / "t.xlsx", 50, 5)
    table = read_table(tmp_path / "t.xlsx", synthetic.COLUMNS)
    assert table.to_dict("records") == synthetic.generate(50, 5)
