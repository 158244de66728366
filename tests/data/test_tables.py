"""Whatever somebody sends: encodings, quoting, compression, spreadsheets that are broken or locked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from data.tables import OLE_MAGIC, decode, read_table
from hotline.errors import InputError

TEXT = "编号,内容\n1,路灯坏了，这里的人都很不方便\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16", "utf-16-le"])
def test_every_usual_encoding_gives_the_same_table(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT.encode(encoding))
    assert read_table(path).to_dict("records") == [{"编号": "1", "内容": "路灯坏了，这里的人都很不方便"}]


def test_big5_is_not_taken_for_gbk(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("編號,內容\n1,這裏的路燈壞了，我們都不方便\n".encode("big5hkscs"))
    assert read_table(path)["內容"][0] == "這裏的路燈壞了，我們都不方便"


def test_bytes_in_no_known_encoding_are_refused_rather_than_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encoding"):
        decode(tmp_path / "t.csv", "naïve,café\n".encode("latin-1") + b"\xff\x00\xfe")


def test_gzip_quoted_newlines_and_tabs_survive(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b'a\tb\n"one\ntwo"\t"\n\t\tx\t\n"\n'))
    assert read_table(path).to_dict("records") == [{"a": "one\ntwo", "b": "x"}]


def test_json_lines_keep_what_is_missing_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "b": "x"}\n\n{"b": null, "c": ["y"]}\n', encoding="utf-8")
    assert read_table(path).to_dict("records") == [{"a": "1", "b": "x", "c": ""}, {"a": "", "b": "", "c": '["y"]'}]


def test_spreadsheet_cells_stay_text(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["编号", "时间"], ["007", "2020/1/6 12:09:38"], ["NA", "\n\t 8 "]):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    cells = read_table(tmp_path / "t.xlsx").to_dict("records")
    assert cells == [{"编号": "007", "时间": "2020/1/6 12:09:38"}, {"编号": "NA", "时间": "8"}]


def test_a_missing_column_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT.encode())
    with pytest.raises(InputError) as refused:
        read_table(path, ["编号", "诉求内容"])
    assert "诉求内容" in refused.value.what
    assert refused.value.found == "编号, 内容"
    assert refused.value.next


def test_an_encrypted_spreadsheet_says_so_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "locked.xlsx"
    path.write_bytes(OLE_MAGIC + bytes(4096))
    with pytest.raises(InputError, match="encrypted") as refused:
        read_table(path)
    assert "hotline import" in (refused.value.next or "")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.xlsx", b"PK\x03\x04 not a zip", "cannot be read"),
        ("t.csv.gz", b"\x1f\x8b broken", "gzip file is corrupt"),
        ("t.csv", b"a,b\n1,2,3\n", "more cells than the header"),
        ("t.csv", b'a,b\n"open,2\n', "broken"),
        ("t.csv", b"a,a\n1,2\n", "two columns have one name"),
        ("t.jsonl", b"{\n", "not JSON"),
        ("t.jsonl", b"[1]\n", "not an object"),
        ("t.pdf", b"%PDF", "not a kind of table"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_table(tmp_path / name, ["a"] if name.startswith("t.csv") else [])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_table(tmp_path / "absent.csv")
    assert refused.value.where == str(tmp_path / "absent.csv")


cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff"), max_size=20)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_json_lines_come_back_as_they_were(rows: list[tuple[str, str]]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        path.write_text("\n".join(json.dumps({"a": a, "b": b}) for a, b in rows), encoding="utf-8")
        table = read_table(path)
    assert list(zip(table["a"], table["b"], strict=True)) == [(a.strip(), b.strip()) for a, b in rows]
