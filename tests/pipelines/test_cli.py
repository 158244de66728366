"""What a user sees of a mistake: a message with the next command, a non-zero exit status, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from hotline.records import ModelAddress
from hotline.settings import Settings


def hotline(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own."""
    command = [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, check=False
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode not in (0, 1), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "next:" in done.stderr
    for word in words:
        assert word in done.stderr


def test_outside_of_a_workspace_init_is_named(tmp_path: Path) -> None:
    refused(hotline("train", "tickets", cwd=tmp_path), "not a workspace", "hotline init")


def test_an_unknown_recipe_key_is_refused_by_its_path(workspace_copy: Settings) -> None:
    path = workspace_copy.recipes / "tickets.yaml"
    content = yaml.safe_load(path.read_text())
    content["trainer"]["epochs"] = 3
    path.write_text(yaml.safe_dump(content))
    refused(hotline("--workspace", workspace_copy.workspace, "train", "tickets"), "trainer.epochs", "edit")


def test_a_missing_snapshot_names_the_import(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert hotline("init", site, "--site", "s", "--profile", "demo", "--demo-keys").returncode == 0
    refused(hotline("--workspace", site, "train", "tickets"), "snapshot", "hotline import")


def test_an_mlflow_server_that_does_not_answer_is_named_at_once(workspace_copy: Settings) -> None:
    uri = "http://127.0.0.1:9"
    done = hotline("--workspace", workspace_copy.workspace, "train", "tickets", MLFLOW_TRACKING_URI=uri)
    refused(done, "MLflow", uri)


def test_promoting_what_was_never_trained_names_train(workspace_copy: Settings) -> None:
    done = hotline("--workspace", workspace_copy.workspace, "promote", "tickets_without_xiangjiang")
    refused(done, "not trained", "hotline train")


def test_judging_what_was_never_trained_names_train(workspace_copy: Settings) -> None:
    refused(hotline("--workspace", workspace_copy.workspace, "judge", "tickets@99"), "tickets@99", "hotline versions")


def test_serving_without_a_champion_names_promote(tmp_path: Path) -> None:
    site = tmp_path / "site"
    hotline("init", site, "--site", "s", "--profile", "demo", "--demo-keys")
    refused(hotline("--workspace", site, "serve"), "hotline")


def test_an_import_without_mapping_says_what_is_missing(workspace_copy: Settings, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n")
    done = hotline("--workspace", workspace_copy.workspace, "import", "ticket_category", table)
    refused(done, "--mapping")


def test_a_label_outside_the_tree_and_a_text_over_the_limit_are_refused_with_reasons(
    workspace_copy: Settings, tmp_path: Path
) -> None:
    table, mapping = tmp_path / "t.csv", tmp_path / "m.yaml"
    table.write_text(f"text,label\n路灯坏了很久没人修,没有/这个/类别\n{'很长' * 20_000},也没有\n")
    tree = {"path": "tree.csv", "levels": ["a"]}
    (tmp_path / "tree.csv").write_text("a\n城建\n")
    columns = {"input.text": "text", "target.label": "label"}
    mapping.write_text(yaml.safe_dump({"columns": columns, "labels": tree}, allow_unicode=True))
    site = tmp_path / "site"
    hotline("init", site, "--site", "s", "--profile", "demo")
    done = hotline("--workspace", site, "import", "ticket_category", table, "--mapping", mapping)
    refused(done, "quarantine", "2")


def test_errors_are_json_for_machines(tmp_path: Path) -> None:
    done = hotline("--workspace", tmp_path, "versions", "--json")
    assert done.returncode != 0
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "not_found"


@pytest.mark.parametrize("arguments", [["nonsense"], ["import"], ["train"], ["init", "x", "--profile", "fantasy"]])
def test_a_wrong_command_exits_non_zero(arguments: Sequence[str]) -> None:
    done = hotline(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_names_every_verb_of_the_chain() -> None:
    shown = hotline("--help").stdout
    for verb in ("import", "train", "judge", "promote", "rollback", "compare", "verify", "serve", "predict", "doctor"):
        assert verb in shown


def test_doctor_says_what_this_machine_can_do(workspace_copy: Settings) -> None:
    done = hotline("--workspace", workspace_copy.workspace, "doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["torch"]["state"] == findings["ledger"]["state"] == findings["gate key"]["state"] == "ok"


def test_doctor_finds_an_edited_ledger(workspace_copy: Settings, candidate: ModelAddress) -> None:
    (workspace_copy.state / "ledger.db").write_bytes(b"not a database")
    done = hotline("--workspace", workspace_copy.workspace, "doctor", "--json")
    assert done.returncode == 1
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["ledger"]["state"] == "broken"


def test_dialects_holds_more_than_fifty_tags_with_unknown() -> None:
    listed = json.loads(hotline("dialects", "--json").stdout)
    tags = [entry["tag"] for entry in listed["dialects"]]
    assert len(tags) == len(set(tags)) > 50
    assert {"unknown", "yue-hongkong", "cmn", "cmn-sichuan", "hak"} <= set(tags)


def test_a_table_without_a_column_for_each_needed_field_is_refused_by_the_field(tmp_path: Path) -> None:
    table = tmp_path / "questions.csv"
    table.write_text("全文,问题\n六十日内办理。,多久以内？\n", encoding="utf-8")
    done = hotline("predict", "article_answer", table, "--column", "全文", "--url", "http://127.0.0.1:9")
    refused(done, "no column for question", "--column question=COLUMN")
