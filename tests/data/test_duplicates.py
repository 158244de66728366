"""Near duplicates: what belongs together does, what does not stays apart, and names stick."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from data import duplicates
from data.duplicates import cluster

TEXT = "小区门口的路灯坏了三天，晚上一片漆黑，老人出门很不安全，请尽快派人维修，谢谢。"
OTHER = "楼下烧烤店油烟直接往楼上飘，一年多不敢开窗，环保部门来测过说达标，请你们再来看看。"


def test_blanks_punctuation_and_width_do_not_tell_texts_apart(tmp_path: Path) -> None:
    found = cluster({"a": "路灯 坏了，ＡＢＣ！很不方便", "b": "路灯坏了abc很不方便。", "c": OTHER}, {}, {}, tmp_path)
    assert found.names == {"a": "a", "b": "a", "c": "c"}


def test_a_few_changed_characters_are_the_same_event(tmp_path: Path) -> None:
    found = cluster({"b": TEXT, "a": f"再次反映：{TEXT}", "c": OTHER}, {}, {}, tmp_path)
    assert found.names == {"a": "a", "b": "a", "c": "c"}


def test_a_known_cluster_keeps_its_name_when_a_smaller_id_joins(tmp_path: Path) -> None:
    found = cluster({"a": f"又来催：{TEXT}"}, {"m": TEXT}, {"m": "m"}, tmp_path)
    assert found.names == {"a": "m"}


def test_a_text_between_two_known_clusters_says_so(tmp_path: Path) -> None:
    found = cluster({"n": TEXT}, {"p": TEXT, "q": TEXT + "急"}, {"p": "p", "q": "q"}, tmp_path)
    assert found.names == {"n": "p"}
    between = cluster({"n": TEXT + "急"}, {"p": TEXT, "q": TEXT + "急急"}, {"p": "p", "q": "q"}, tmp_path)
    assert {between.names["n"], *between.also["n"]} == {"p", "q"}


def test_the_second_import_computes_no_signature_again(tmp_path: Path) -> None:
    cluster({"a": TEXT}, {}, {}, tmp_path)
    before = sorted(path.name for path in (tmp_path / "signatures").rglob("*.parquet"))
    cluster({"b": TEXT}, {"a": TEXT}, {"a": "a"}, tmp_path)
    assert sorted(path.name for path in (tmp_path / "signatures").rglob("*.parquet")) == before


@given(st.lists(st.text(min_size=0, max_size=40), min_size=1, max_size=6))
def test_shingles_of_many_texts_are_those_of_each(texts: list[str]) -> None:
    bare = [duplicates.bare(text) for text in texts]
    hashes, starts = duplicates.shingle_hashes(bare)
    pieces = np.split(hashes, starts[1:])
    assert all((piece == duplicates.shingle_hashes([text])[0]).all() for piece, text in zip(pieces, bare, strict=True))
    assert [len(piece) for piece in pieces] == [max(1, len(text) - 4) for text in bare]


def test_signatures_estimate_the_jaccard_similarity() -> None:
    one, other = duplicates.bare(TEXT * 3 + OTHER), duplicates.bare(TEXT + OTHER * 2)
    sets = [set(duplicates.shingle_hashes([text])[0].tolist()) for text in (one, other)]
    truth = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    rows = duplicates.signatures([one, other])
    sketches = [MinHash(hashvalues=row, permutations=duplicates._permutations(), scheme="affine32") for row in rows]
    assert abs(sketches[0].jaccard(sketches[1]) - truth) < 0.2


def test_a_thousand_copies_cost_what_a_thousand_texts_cost(tmp_path: Path) -> None:
    copies = {f"{number:05d}": f"{TEXT}{'急' * (number % 7)}第{number}次" for number in range(4000)}
    started = time.perf_counter()
    found = cluster(copies, {}, {}, tmp_path)
    assert time.perf_counter() - started < 30
    assert set(found.names.values()) == {"00000"}
