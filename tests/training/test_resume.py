"""A run that is killed goes on as if nothing had happened: every later loss is the same, to the last bit."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hotline import registry
from hotline.errors import ContractError
from hotline.settings import Settings
from training.fit import train
from training.recipe import load

Written = Callable[..., str]
FAMILIES = ["classifier", "transcriber", "writer"]
OTHERS = ("classifier", "writer")
WHOLE: dict[str, dict[int, set[float]]] = {}
"""The losses of the uninterrupted run, by recipe: made once."""


def losses(site: Settings, name: str) -> dict[int, set[float]]:
    """Every loss that any run of that recipe logged for a step."""
    client = registry.connect(site.tracking_uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    found: dict[int, set[float]] = {}
    for run in client.search_runs(experiments, f"attributes.run_name = '{name}'"):
        for metric in client.get_metric_history(run.info.run_id, "train/loss"):
            found.setdefault(metric.step, set()).add(metric.value)
    return found


def uninterrupted(site: Settings, ranks: Any, written: Written, family: str) -> dict[int, set[float]]:
    if family not in WHOLE:
        name = written(family, f"{family}_whole")
        done = ranks.run(site, name)
        assert done["codes"] == [0, 0], done["written"]
        WHOLE[family] = losses(site, name)
    return WHOLE[family]


def killed_and_resumed(site: Settings, ranks: Any, written: Written, family: str, name: str) -> None:
    """Kill -9 both ranks at a random step of the second epoch or later, resume, and compare."""
    whole = uninterrupted(site, ranks, written, family)
    name = written(family, name, checkpoint_steps=2)
    at = random.randrange(len(whole) // 3 + 2, len(whole) - 1)
    killed = ranks.run(site, name, signal=signal.SIGKILL, at=at)
    assert killed["codes"] == [-9, -9], killed["written"]
    resumed = ranks.run(site, name, resume=True)
    assert resumed["codes"] == [0, 0], resumed["written"]
    assert losses(site, name) == whole, f"killed after step {at}"


@pytest.mark.parametrize("family", ["transcriber", *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)])
def test_a_killed_run_goes_on_with_the_same_losses(site: Settings, ranks: Any, written: Written, family: str) -> None:
    killed_and_resumed(site, ranks, written, family, f"{family}_killed")


@pytest.mark.slow
@pytest.mark.parametrize("time", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_does_so_wherever_it_is_killed(site: Settings, ranks: Any, written: Written, family: str, time: int) -> None:
    killed_and_resumed(site, ranks, written, family, f"{family}_killed_{time}")


def test_a_run_told_to_stop_writes_a_checkpoint_and_can_be_killed_again(
    site: Settings, ranks: Any, written: Written
) -> None:
    whole = uninterrupted(site, ranks, written, "classifier")
    name = written("classifier", "stopped")
    stopped = ranks.run(site, name, signal=signal.SIGTERM, at=4, to=0)  # one rank hears it, both stop
    assert stopped["codes"] == [0, 0], stopped["written"]
    assert "a checkpoint is written" in stopped["written"][0]
    assert len(losses(site, name)) == stopped["steps"] < len(whole)
    last = len(whole) // 3  # the last step of the first epoch: the next one begins with the second
    ended = ranks.run(site, name, resume=True, signal=signal.SIGTERM, at=last - 1)
    assert ended["codes"] == [0, 0], ended["written"]
    assert ranks.run(site, name, resume=True)["codes"] == [0, 0]
    assert losses(site, name) == whole


@pytest.mark.slow
def test_two_ranks_go_on_as_one(site: Settings, ranks: Any, written: Written) -> None:
    whole = uninterrupted(site, ranks, written, "classifier")
    name = written("classifier", "two_to_one")
    assert ranks.run(site, name, signal=signal.SIGTERM, at=4)["codes"] == [0, 0]
    written("classifier", name, devices=1, accumulate=4)
    alone = ranks.run(site, name, resume=True, ranks=1)
    assert alone["codes"] == [0], alone["written"]
    found = losses(site, name)
    assert found.keys() == whole.keys()
    for step, [loss] in whole.items():
        assert list(found[step]) == pytest.approx([loss], rel=1e-4), step


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_with_a_message(site: Settings, ranks: Any, written: Written) -> None:
    name = written("classifier", "bereft", checkpoint_steps=2)
    done = ranks.run(site, name, signal=signal.SIGKILL, at=5, to=1)
    assert done["codes"] == [7, -9]
    assert "another rank of this run died" in done["written"][0]
    assert "--resume" in done["written"][0]
    assert ranks.run(site, name, resume=True)["codes"] == [0, 0]  # the last good one loads


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_last_good_checkpoint_loads(site: Settings, ranks: Any, written: Written) -> None:
    """A limit on the size of files stands in for the disk's end: it needs no rights, and the write fails alike."""
    name = written("classifier", "full")
    assert ranks.run(site, name, signal=signal.SIGTERM, at=2)["codes"] == [0, 0]
    written("classifier", name, checkpoint_steps=2)
    full = ranks.run(site, name, resume=True, file_limit=10_000)
    assert full["codes"][0] == 7, full["written"]
    assert "could not be written" in full["written"][0]
    assert "make room, then hotline train" in full["written"][0]
    assert not list((site.checkpoints / name).rglob("*.partial"))
    assert ranks.run(site, name, resume=True)["codes"] == [0, 0]


def test_a_changed_recipe_refuses_to_resume_unless_told_to(site: Settings, ranks: Any, written: Written) -> None:
    name = written("classifier", "changed")
    assert ranks.run(site, name, signal=signal.SIGTERM, at=4)["codes"] == [0, 0]
    written("classifier", name, budget=900)
    refused = ranks.run(site, name, resume=True)
    assert refused["codes"][0] == 5
    assert "the recipe and the plan changed since the checkpoint of step" in refused["written"][0]
    assert "--resume-anyway" in refused["written"][0]
    assert ranks.run(site, name, resume=True, anyway=True)["codes"] == [0, 0]


def test_the_state_of_another_model_is_refused(site: Settings, ranks: Any, written: Written) -> None:
    name = written("classifier", "another")
    assert ranks.run(site, name, signal=signal.SIGTERM, at=4)["codes"] == [0, 0]
    path: Path = site.recipes / f"{name}.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "model": {**content["model"], "width": 24}}))
    refused = ranks.run(site, name, resume=True, anyway=True)
    assert refused["codes"][0] == 6
    assert "the checkpoint is of another model" in refused["written"][0]
    shutil.rmtree(site.checkpoints / name)
    nothing = ranks.run(site, name, resume=True)
    assert "no unfinished run with a whole checkpoint" in nothing["written"][0]


def test_an_empty_corpus_is_named_before_anything_starts(site: Settings, written: Written) -> None:
    name = written("classifier", "empty")
    path: Path = site.recipes / f"{name}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, "data": {"where": {"region": ["nowhere"]}}}), encoding="utf-8")
    with pytest.raises(ContractError, match="the train split is empty"):
        train(site, load(path))
