"""Real DVC reads what judging leaves: metrics, plots, and what changed since a commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.store import open_snapshot
from evaluation import answers, plots
from evaluation.gate import judge
from hotline.records import ModelAddress
from hotline.settings import Settings
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK

VERDICT = Path("evaluation/verdicts/tickets") / TASK.name
IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.org")


def run(here: Settings, *command: str) -> str:
    environment = {**os.environ, "HOTLINE_WORKSPACE": str(here.workspace), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=here.workspace, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(here: Settings, *arguments: str) -> Any:
    return json.loads(run(here, sys.executable, "-m", "dvc", *arguments, "--json"))


def drawn(found: Any, file: str) -> dict[str, Any]:
    """The Vega-Lite chart of that file, with its data."""
    (made,) = [each for path, charts in found["data"].items() if path.endswith(file) for each in charts]
    assert made["type"] == "vega"
    content = made["content"]
    return content if isinstance(content, dict) else dict(json.loads(content))


@pytest.mark.slow
def test_dvc_shows_and_compares_what_was_judged(workspace_copy: Settings, candidate: ModelAddress) -> None:
    here = workspace_copy
    _, verdict = judge(here, TASK, candidate)
    overall = next(f for f in verdict.figures if (f.score, f.slice) == ("accuracy", None))
    run(here, sys.executable, "-m", "dvc", "config", "core.no_scm", "false")
    run(here, "git", "init", "--quiet")
    run(here, "git", "add", "evaluation", "dvc.yaml", "training", ".dvc", ".gitignore")
    run(here, "git", *IDENTITY, "commit", "--quiet", "--message", "judged")

    metrics = dvc(here, "metrics", "show")[""]["data"][str(VERDICT / "metrics.json")]["data"]
    assert metrics["accuracy"] == pytest.approx(overall.estimate)

    charts = dvc(here, "plots", "show")
    forest = drawn(charts, f"{VERDICT}/plots/slices.csv")
    rows = {row["slice"]: row for row in forest["data"]["values"]}
    assert float(rows["all"]["low"]) == pytest.approx(overall.low)
    assert {f"region={f.value}" for f in verdict.figures if f.slice == "region"} <= set(rows)
    assert forest["layer"][0]["encoding"]["x2"] == {"field": "high"}
    confusion = drawn(charts, f"{VERDICT}/plots/confusion.csv")["data"]["values"]
    assert len(confusion) == overall.rows
    assert sum(row["actual"] == row["predicted"] for row in confusion) > overall.rows / 2
    assert drawn(charts, f"{VERDICT}/plots/reliability.csv")["data"]["values"]

    path = here.workspace / VERDICT / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "accuracy": 0.5}))
    changed = dvc(here, "metrics", "diff")[str(VERDICT / "metrics.json")]["accuracy"]
    assert (changed["old"], changed["new"]) == (pytest.approx(overall.estimate), 0.5)
    tested = open_snapshot(here, TASK).rows("test")
    said = answers.read(path.parent / "answers.parquet", TASK, tested.ids, ["candidate"])["candidate"]
    plots.write(path.parent, TASK, tested.targets, said, verdict.figures[:1])
    both = drawn(dvc(here, "plots", "diff"), f"{VERDICT}/plots/slices.csv")["data"]["values"]
    assert {row["rev"] for row in both} == {"HEAD", "workspace"}


def test_a_confusion_over_many_labels_shows_their_first_level(tmp_path: Path) -> None:
    targets = [TASK.target.model_validate({"label": f"城建/事项{number}"}) for number in range(30)]
    said = [answers.Answer(target=target, confidence=0.5) for target in targets]
    plots.write(tmp_path, TASK, targets, said, ())
    assert (tmp_path / "plots" / "confusion.csv").read_text().splitlines()[1:] == ["城建,城建"] * 30
    assert (tmp_path / "plots" / "reliability.csv").read_text().splitlines()[1:] == ["0.5,1.0,30"]
