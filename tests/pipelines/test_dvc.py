"""The pipeline knows what is up to date."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from data import synthetic
from hotline.settings import Settings
from pipelines import workspace as workspaces

pytestmark = pytest.mark.slow
LINES = ("tickets", "tickets_without_xiangjiang")
JUDGED = tuple(f"judge@{line}" for line in LINES)


def dvc(here: Settings, *arguments: str) -> str:
    """What DVC printed."""
    environment = {**os.environ, "HOTLINE_WORKSPACE": str(here.workspace)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=here.workspace, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ran(output: str) -> set[str]:
    """The stages that DVC ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    here = workspaces.create(tmp_path_factory.mktemp("dvc"), "demo", "demo", demo_keys=True)
    source = here.workspace / "data" / "incoming" / "tickets.xlsx"
    source.parent.mkdir(parents=True)
    synthetic.write_xlsx(source, 6000, 11)
    return here


def test_the_chain_runs_once_a_recipe_edit_reruns_its_own_chain_and_a_champion_makes_judging_stale(
    site: Settings,
) -> None:
    first = ran(dvc(site, "repro", *JUDGED))
    assert first == {"corpus@ticket_category", *(f"{step}@{line}" for step in ("train", "judge") for line in LINES)}
    assert ran(dvc(site, "repro", *JUDGED)) == set()

    path = site.recipes / "tickets_without_xiangjiang.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "seed": 8}, allow_unicode=True))
    assert ran(dvc(site, "repro", *JUDGED)) == {"train@tickets_without_xiangjiang", "judge@tickets_without_xiangjiang"}

    subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "--workspace", str(site.workspace), "promote", "tickets"], check=True
    )
    assert ran(dvc(site, "repro", *JUDGED)) == set(JUDGED)
    assert ran(dvc(site, "repro", *JUDGED)) == set()
