"""The command says how often the normaliser agrees with lists of pairs, and which pairs came out differently."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hotline.errors import InputError
from pipelines.cli import app
from pipelines.conformance import examine

PAIRS = {
    "itn_zh/numbers.txt": "三百个 => 300个\n三个 => 3个\n\n百分之三十 => 百分30\n",
    "itn_zh/few_disable_0_to_9.txt": "三个 => 三个\n",
    "tn_zh/numbers.txt": "30% => 百分之三十\n呃 => \n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PAIRS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_exact_matches_are_counted_per_file_and_the_misses_named(folder: Path) -> None:
    found = {result.name: result for result in examine(folder)}
    assert {name: (result.matches, result.pairs) for name, result in found.items()} == {
        "itn_zh/few_disable_0_to_9.txt": (1, 1),
        "itn_zh/numbers.txt": (2, 3),
        "tn_zh/numbers.txt": (2, 2),
    }
    (miss,) = found["itn_zh/numbers.txt"].misses
    assert (miss.given, miss.expected, miss.found) == ("百分之三十", "百分30", "30%")


def test_the_command_prints_rates_and_ends_with_1_below_what_is_demanded(folder: Path) -> None:
    result = CliRunner().invoke(app, ["text", "conformance", str(folder), "--misses", "--at-least", "0.9"])
    assert result.exit_code == 1
    assert "spoken → written: 0.7500" in result.output and "written → spoken: 1.0000" in result.output
    assert "百分30" in result.output
    assert CliRunner().invoke(app, ["text", "conformance", str(folder), "--at-least", "0.7"]).exit_code == 0


def test_json_names_the_rules_that_each_file_was_read_with(folder: Path) -> None:
    said = json.loads(CliRunner().invoke(app, ["text", "conformance", str(folder), "--json"]).output)
    assert said["rates"] == {"spoken → written": 0.75, "written → spoken": 1.0}
    assert said["files"][0]["policy"]["lone_digits"] is False and len(said["files"][0]["digest"]) == 64


def test_a_single_list_folder_is_examined_too(folder: Path) -> None:
    assert [result.name for result in examine(folder / "tn_zh")] == ["numbers.txt"]


def test_a_folder_without_pairs_and_a_line_that_is_none_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(InputError, match="no lists of pairs"):
        examine(tmp_path / "elsewhere")
    (folder / "tn_zh" / "numbers.txt").write_text("30% - 百分之三十\n", encoding="utf-8")
    with pytest.raises(InputError, match="a line is no pair"):
        examine(folder)


def test_the_published_pairs_come_out_as_published(real_data: Path) -> None:
    """All of those that are said, and those that are read out but for marks of unknown characters and one number."""
    found = CliRunner().invoke(app, ["text", "conformance", str(real_data / "itn"), "--at-least", "1", "--json"])
    said = json.loads(found.output)
    assert found.exit_code == 0 and said["rates"]["spoken → written"] == 1
    assert said["rates"]["written → spoken"] > 0.95
    assert sum(each["pairs"] for each in said["files"]) == 433
