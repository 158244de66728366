"""The table of before and after, from minutes and verdicts that lie in a workspace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hotline import digests, keys, policy, settings
from hotline.errors import UnknownName
from hotline.ledger import Ledger
from hotline.records import Evidence, Figure, Lineage, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.tasks import find
from pipelines.before_after import Report, report
from pipelines.cli import app
from serving.watch.meters import SECONDS
from serving.watch.minutes import Minute

TASK = find("ticket_category")
BEFORE, AFTER, NEVER = "tickets@1", "tickets@2", "tickets@3"


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "site.yaml").write_text("{schema_version: 1, site: test, profile: demo}")
    made = settings.load(tmp_path)
    signer = {"name": "gate", "public_key": keys.create(made.keys, "gate").public, "roles": ["gate"]}
    (tmp_path / "policy" / "signers.yaml").write_text(yaml.safe_dump({"schema_version": 1, "signers": [signer]}))
    judge(made, "1", 0.80)
    judge(made, "2", 0.90)
    judge(made, "3", 0.70)
    keep(made, BEFORE, answers=[60, 120], slow=True, compute=3.0, timeouts=20)
    keep(made, AFTER, answers=[216, 100], slow=False, compute=2.0, timeouts=0)
    return made


def judge(here: Settings, version: str, accuracy: float) -> None:
    other = "a" * 64
    declared = {TASK.name: digests.of_value(TASK.declaration())}
    lineage = Lineage(declarations=declared, snapshot=other, recipe=other, code=other, base=None)
    verdict = Verdict(
        site="test",
        task=TASK.name,
        time="2026-01-01T00:00:00+00:00",
        profile="demo",
        model=ModelAddress(line="tickets", version=version, digest=version * 64, files={}, run_id="none"),
        outcome="passed",
        findings=(),
        figures=(Figure(score="accuracy", rows=100, clusters=90, estimate=accuracy, low=None, high=None),),
        evidence=Evidence(lineage=lineage, test_snapshot=other, test_rows=other, policy=other, answers=other),
        previous_champion=None,
        libraries={},
    )
    ledger = Ledger(here.ledger_url, policy.load(here.workspace).site, policy.load_signers(here.workspace))
    ledger.append(lambda _: verdict, keys.load(here.keys, "gate"))


def keep(here: Settings, version: str, answers: list[int], slow: bool, compute: float, timeouts: int) -> None:
    """Minutes in which every request took up to 0.25 s when slow, else up to 0.1 s."""
    place = SECONDS.index(0.25 if slow else 0.1)
    folder = here.state / "watch" / "minutes"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "2026-01-02.jsonl").open("a") as file:
        for number, count in enumerate(answers):
            buckets = tuple(count if n == place else 0 for n in range(len(SECONDS) + 1))
            minute: dict[str, Any] = {"requests": count, "answers": count, "buckets": buckets, "timeouts": timeouts / 2}
            made = Minute(
                minute=f"2026-01-02T10:0{number}:00+00:00",
                seconds=60.0,
                task=TASK.name,
                version=version,
                compute_seconds=compute,
                **minute,
            )
            file.write(made.model_dump_json() + "\n")
        file.write('{"minute": "torn')
        file.write("\n")


def by_name(found: Report) -> dict[str, Any]:
    return {line.name: line for line in found.lines}


def test_the_table_has_throughput_times_accuracy_and_cost_of_both(here: Settings) -> None:
    (found,) = report(here, AFTER, BEFORE)
    lines = by_name(found)
    busiest = lines["throughput, busiest minute"]
    assert (busiest.before, busiest.after, busiest.judged) == (2.0, 3.6, "better")
    assert busiest.change == pytest.approx(0.8)
    assert lines["response time, median"].before == pytest.approx((0.1 + 0.25) / 2)
    assert lines["response time, median"].judged == "better"
    assert lines["time-outs"].before == pytest.approx(20 / 200)
    assert lines["time-outs"].after == 0
    assert (lines["accuracy"].before, lines["accuracy"].after) == (0.8, 0.9)
    assert lines["cost"].before == pytest.approx(6 / 180 * 1000)


def test_a_price_makes_cost_money(here: Settings) -> None:
    (found,) = report(here, AFTER, BEFORE, price=36.0)
    assert by_name(found)["cost"].before == pytest.approx(6 / 180 * 1000 * 36 / 3600)


def test_what_was_not_measured_is_said_not_to_be(here: Settings) -> None:
    (found,) = report(here, NEVER, BEFORE)
    lines = by_name(found)
    assert lines["response time, p95"].after is None
    assert lines["response time, p95"].judged == "not measured"
    assert lines["accuracy"].judged == "worse"
    assert any("serving was not measured" in note for note in found.notes)


@pytest.mark.parametrize("name", ["tickets", "@1", "tickets@9"])
def test_a_version_that_nobody_knows_is_refused(here: Settings, name: str) -> None:
    with pytest.raises(UnknownName):
        report(here, name, BEFORE)


def test_the_command_prints_json_and_writes_a_page(here: Settings, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "report.html"
    command = ["--workspace", str(here.workspace), "report", AFTER, "--against", BEFORE, "--html", str(page), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    (said,) = json.loads(done.stdout)
    assert said["lines"][0]["judged"] == "better"
    text = page.read_text(encoding="utf-8")
    assert all(word in text for word in ("+80.0 %", "准确度", AFTER, BEFORE))
