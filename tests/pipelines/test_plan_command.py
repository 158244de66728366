"""`hotline plan` says what a recipe would do before anything starts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hotline.errors import InputError
from hotline.settings import Settings
from pipelines.cli import app


def planned(workspace: Settings, *arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["--workspace", str(workspace.workspace), "plan", *arguments, "--json"])
    if done.exception:
        raise done.exception
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def budgeted(workspace: Settings) -> Any:
    """A recipe under a budget, beside the shipped ones for one test."""
    content = yaml.safe_load((workspace.recipes / "tickets.yaml").read_text()) | {"name": "budgeted"}
    path = workspace.recipes / "budgeted.yaml"

    def write(**trainer: Any) -> str:
        path.write_text(yaml.safe_dump({**content, "trainer": {"max_epochs": 2, **trainer}}, allow_unicode=True))
        return "budgeted"

    yield write
    path.unlink()


def test_it_tells_rows_steps_padding_and_memory(workspace: Settings, budgeted: Any) -> None:
    found = planned(workspace, budgeted(budget=4000))
    assert found["size_in"] == found["size_trained"] + found["size_dropped"]
    assert found["total_steps"] == 2 * found["steps"]
    assert 0.9 < found["useful_ratio"] <= 1
    parts = found["memory_bytes"]
    assert parts["total"] == sum(value for name, value in parts.items() if name != "total")
    assert parts["optimiser"] == 8 * found["parameters"]
    assert "activations" in found["memory_how"]


@pytest.mark.slow
def test_it_finds_batch_sizes_by_trying(workspace: Settings, budgeted: Any) -> None:
    found = planned(workspace, budgeted(budget=4000), "--find-batch", "--memory-gib", "2")["find_batch"]
    assert all(0 < each["rows"] <= each["rows_there"] for each in found)
    assert found[-1]["budget"] == found[-1]["rows"] * found[-1]["longest"]


def test_rows_longer_than_the_budget_are_named_before_anything_starts(workspace: Settings, budgeted: Any) -> None:
    with pytest.raises(InputError, match="are longer than the budget"):
        planned(workspace, budgeted(budget=30))
    dropped = planned(workspace, budgeted(budget=30, too_long="drop"))
    assert dropped["rows_dropped"] > 0
    assert dropped["size_in"] == dropped["size_trained"] + dropped["size_dropped"]
