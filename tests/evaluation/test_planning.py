"""What would settle a bar: how many calls of which slice, before judging and after."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from evaluation.bar_plan import plan
from evaluation.findings import decide
from evaluation.planning import calls_for, settles, write_wanted
from evaluation.statistics import Z, interval, minimum_detectable_effect
from hotline import keys
from hotline import settings as places
from hotline.errors import RefusedError
from hotline.ledger import Ledger
from hotline.records import Evidence, Figure, Lineage, ModelAddress, Test, Verdict, Wanted
from hotline.scores import accuracy, macro_f1
from hotline.settings import Settings
from hotline.task import Bar, Task
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY
from pipelines.cli import app
from pipelines.commands.models import print_verdict

FLOOR = Bar("accuracy", at_least=0.8)
EACH = Bar("accuracy", at_least=0.8, slice="region")
RELATIVE = Bar("accuracy", not_worse_than_champion_by=0.03)


def declared(*bars: Bar) -> Task:
    return replace(
        TICKET_CATEGORY, scores={"accuracy": accuracy, "macro_f1": macro_f1}, bars={"demo": bars}, targets={}
    )


def figure(estimate: float, error: float, calls: int, value: str | None = None, rows: int | None = None) -> Figure:
    ends = {"low": estimate - Z * error, "high": estimate + Z * error}
    where = {"slice": "region" if value else None, "value": value}
    return Figure(score="accuracy", rows=rows or calls, clusters=calls, estimate=estimate, **where, **ends)


def settled(bar: Bar, *figures: Figure, **named: Any) -> list[Wanted]:
    task = declared(bar)
    found = decide(task, "demo", figures, named.pop("paired", ()), named.pop("standing", "challenger"), **named)
    return list(settles(task, "demo", found, figures))


def test_four_times_the_calls_halve_the_distance() -> None:
    assert calls_for(0.01, 0.4) == pytest.approx(4 * calls_for(0.02, 0.4))
    assert calls_for(0.03, 0.4) == pytest.approx((minimum_detectable_effect(0.4) / 0.03) ** 2)
    assert calls_for(0, 0.4) == math.inf


def test_what_is_decided_needs_nothing() -> None:
    assert settled(FLOOR, figure(0.9, 0.02, 100)) == []
    assert settled(FLOOR, figure(0.6, 0.02, 100)) == []


def test_an_undecided_bar_says_how_many_calls_it_lacks() -> None:
    (want,) = settled(FLOOR, figure(0.85, 0.04, 100))
    assert want.calls_missing == math.ceil(calls_for(0.05, 0.4) - 100) == 403
    assert want.bar == FLOOR.words()


def test_so_many_calls_do_decide_it_four_times_of_five() -> None:
    (want,) = settled(Bar("accuracy", at_least=0.4), figure(0.5, 0.5 / math.sqrt(50), 50))
    draw, calls, trials = np.random.default_rng(6), 50 + (want.calls_missing or 0), 300
    decided = 0
    for trial in range(trials):
        right = np.column_stack([draw.random(calls) < 0.5, np.ones(calls)])
        decided += interval(accuracy, right, np.arange(calls), resamples=200, seed=trial).low >= 0.4
    assert 0.72 <= decided / trials <= 0.88


def test_a_figure_at_the_bar_is_not_settled_by_any_practical_number() -> None:
    (want,) = settled(FLOOR, figure(0.8005, 0.02, 100))
    assert want.calls_missing is None
    assert "too close" in want.why


def test_a_difference_is_measured_from_its_margin() -> None:
    (want,) = settled(RELATIVE, figure(0.9, 0.01, 200), paired=(figure(-0.005, 0.02, 200),))
    assert want.calls_missing == math.ceil(calls_for(0.025, 0.02 * math.sqrt(200)) - 200)


def test_a_small_region_is_named_with_the_calls_that_its_minimum_lacks() -> None:
    whole = figure(0.99, 0.005, 400)
    (want,) = settled(EACH, whole, figure(0.9, 0.1, 5, "番禺", rows=10))
    assert (want.slice, want.value, want.calls_missing) == ("region", "番禺", 5)
    (want,) = settled(EACH, whole, known={"region": ["香江"]})
    assert (want.value, want.calls_missing) == ("香江", 20)
    (want,) = settled(EACH, figure(0.85, 0.02, 400), known={"region": ["香江"]})
    assert want.calls_missing == math.ceil(calls_for(0.05, 0.4))


def test_where_evidence_lacks_the_other_regions_are_counted_in_beside_and_decide_nothing() -> None:
    regions = [figure(0.95, 0.01, 100, "天河"), figure(0.95, 0.01, 100, "越秀"), figure(0.82, 0.05, 100, "番禺")]
    found = {f.figure.value: f for f in decide(declared(EACH), "demo", regions, (), "challenger") if f.figure}
    assert found["番禺"].outcome == "insufficient evidence"
    assert "with strength shared among 3 values, which decides nothing" in found["番禺"].reason
    assert "shared" not in found["天河"].reason


ZERO = "0" * 64
MODEL = ModelAddress(line="tickets", version="7", digest="1" * 64, files={}, run_id="run")
VERDICT = Verdict(
    site="demo",
    task="ticket_category",
    time="2026-01-01T00:00:00+00:00",
    profile="demo",
    model=MODEL,
    outcome="insufficient evidence",
    findings=(),
    figures=(),
    evidence=Evidence(
        lineage=Lineage(declarations={}, snapshot=ZERO, recipe=ZERO, code=ZERO, base=None),
        test_snapshot=ZERO,
        test_rows=ZERO,
        policy=ZERO,
        answers=ZERO,
    ),
    previous_champion=None,
    libraries={},
)


def test_the_annotation_queue_gets_a_line_per_slice_that_lacks_calls(tmp_path: Path) -> None:
    lacking = Wanted(bar=EACH.words(), slice="region", value="香江", calls_missing=12, why="8 rows, 20 are needed")
    hopeless = Wanted(bar=FLOOR.words(), calls_missing=None, why="too close")
    write_wanted(tmp_path, VERDICT.model_copy(update={"settles": (lacking, hopeless)}))
    (line,) = (tmp_path / "wanted.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {"task": "ticket_category", "slice": "region", "value": "香江", "calls": 12}
    assert json.loads(line).items() >= expected.items()
    write_wanted(tmp_path, VERDICT)
    assert (tmp_path / "wanted.jsonl").read_text() == ""


def test_judge_prints_what_regressed_and_what_would_settle_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    named = {"name": "approximate randomisation", "score": "accuracy", "slice": "region", "p": 0.001, "p_holm": 0.004}
    tests = [Test(**named, value=v, difference=-0.12, claimed=v == "香江") for v in ("香江", "天河")]
    lacking = Wanted(bar=EACH.words(), slice="region", value="番禺", calls_missing=12, why="8 rows, 20 are needed")
    print_verdict(VERDICT.model_copy(update={"tests": tuple(tests), "settles": (lacking,)}))
    said = capsys.readouterr().out
    assert "regressed: accuracy of region=香江 by 0.120 (p 0.004 after Holm)" in said
    assert "天河" not in said
    assert "12 more test calls of region=番禺" in said


@pytest.fixture
def unjudged(workspace: Settings, tmp_path: Path) -> Settings:
    """A copy of the workspace in which nothing was judged."""
    folder = tmp_path / "copy"
    shutil.copytree(workspace.workspace, folder, ignore=shutil.ignore_patterns("ledger.*", "mlflow*", "artifacts"))
    return places.load(folder)


def test_a_plan_before_any_verdict_says_what_it_assumes(unjudged: Settings) -> None:
    done = CliRunner().invoke(
        app, ["--workspace", str(unjudged.workspace), "bars", "plan", "ticket_category", "--json"]
    )
    assert done.exception is None, done.output
    found = json.loads(done.stdout)
    assert found["profile"] == "demo"
    everywhere = {need["bar"]: need for need in found["needs"] if need["slice"] is None}
    relative = everywhere["accuracy not worse than the champion by 0.03"]
    assert relative["source"].startswith("assumed")
    assert relative["detectable"] == pytest.approx(minimum_detectable_effect(relative["standard_error"]))
    regions = {need["value"] for need in found["needs"] if need["slice"] == "region"}
    assert len(regions) > 1
    assert sum(need["rows"] for need in found["needs"] if "0.8 in every region" in need["bar"]) == relative["rows"]


def test_a_plan_after_a_verdict_takes_its_spread_and_counts_on_the_calls_there_are_now(unjudged: Settings) -> None:
    before = figure(0.90, 0.01, 50)
    verdict = VERDICT.model_copy(update={"figures": (before,), "site": "demo"})
    Ledger.of(unjudged).append(lambda _: verdict, keys.load(unjudged.keys, "gate"))
    task = replace(declared(FLOOR, EACH), scores=TICKET_CATEGORY.scores)
    everywhere, *regions = plan(unjudged, task).needs
    assert everywhere.source == "verdict on tickets@7"
    assert everywhere.standard_error == pytest.approx(0.01 * math.sqrt(50 / everywhere.calls))
    assert everywhere.calls_missing == 0
    assert all(need.source == "verdict on tickets@7, all rows" for need in regions)
    with pytest.raises(RefusedError, match="no bars"):
        plan(unjudged, replace(task, bars={}))
