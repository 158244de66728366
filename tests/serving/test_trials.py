"""A version beside the champion: which verdict lets it be tried, whose calls it answers, and when it is given up."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotline import keys, policy
from hotline.errors import RefusedError
from hotline.ledger import Entry
from hotline.records import ModelAddress, Trial
from hotline.rollout import Rollout
from hotline.tasks import find
from serving import warrant
from serving.rollout.begun import place
from serving.rollout.callers import CALLER, Caller
from serving.rollout.counts import Key, Pair, Window, at_least
from serving.rollout.distance import distance
from serving.rollout.falls import Falls
from serving.rollout.mirror import Mirror
from serving.rollout.stages import Stages
from serving.rollout.watching import Watching
from serving.routes import Route, RouteMap, Stage

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TASK = find("ticket_category")
NOW = "2026-01-01T00:00:00+00:00"


def route(version: int, task: str = TASK.name) -> Route:
    return Route(
        task=task,
        line="tickets",
        version=str(version),
        digest=f"{version:064x}",
        verdict="a" * 64,
        promotion=2 * version,
        promoted=NOW,
        profile="demo",
        outcome="passed",
        site="test",
        engine="in process",
        app=f"{task}-{version}",
    )


def trial(site: Site, model: ModelAddress, verdict: str, stage: Any = "shadow", share: float = 0.5) -> Entry:
    champion = site.ledger.read().champion(TASK.name)
    assert champion
    record = Trial(
        site="test",
        task=TASK.name,
        time=NOW,
        stage=stage,
        model=model,
        verdict=verdict,
        champion=champion.record.model.digest,
        share=share,
        reason="test",
    )
    return site.ledger.append(lambda _: record, keys.load(site.settings.keys, "operator"))


def examined(site: Site, entry: Entry) -> warrant.Warrant:
    return warrant.examine(site.ledger.read(), policy.load(site.settings.workspace), TASK.name, entry)


@pytest.mark.parametrize(
    ("stage", "outcome"), [("shadow", "passed"), ("shadow", "insufficient evidence"), ("canary", "passed")]
)
def test_a_version_is_tried_on_the_verdict_that_its_stage_needs(site: Site, stage: str, outcome: str) -> None:
    site.champion(1)
    model = site.version(2)
    entry = trial(site, model, site.judge(model, outcome).hash, stage)
    assert examined(site, entry).model == model
    challenger = site.ledger.read().challenger(TASK.name)
    assert challenger and challenger.entry == entry


@pytest.mark.parametrize(
    ("stage", "outcome"), [("shadow", "failed"), ("canary", "insufficient evidence"), ("canary", "failed")]
)
def test_without_that_verdict_serving_refuses_what_an_operator_signed(site: Site, stage: str, outcome: str) -> None:
    site.champion(1)
    model = site.version(2)
    entry = trial(site, model, site.judge(model, outcome).hash, stage)
    with pytest.raises(RefusedError, match="the challenger's verdict did not pass"):
        examined(site, entry)


def test_a_canary_needs_the_approvals_that_a_promotion_needs(site: Site) -> None:
    site.champion(1)
    model = site.version(2)
    verdict = site.judge(model)
    site.policy(approvals=1)
    entry = trial(site, model, verdict.hash, "canary")
    with pytest.raises(RefusedError, match="lacks one approval"):
        examined(site, entry)
    site.approve(model, verdict.hash, "lai")
    assert examined(site, entry).model == model


def test_a_promotion_a_rollback_and_a_withdrawal_end_a_trial(site: Site) -> None:
    site.champion(1)
    model = site.version(2)
    verdict = site.judge(model).hash
    for end in (
        lambda: trial(site, model, verdict, "withdrawn", 0.0),
        lambda: site.promote(model, verdict),
        site.roll_back,
    ):
        trial(site, model, verdict)
        end()
        assert site.ledger.read().challenger(TASK.name) is None


def test_only_an_operator_signs_a_trial(site: Site) -> None:
    site.champion(1)
    model = site.version(2)
    record = examined(site, trial(site, model, site.judge(model).hash)).champion.record
    with pytest.raises(RefusedError, match="may not sign a trial"):
        site.ledger.append(lambda _: record, keys.load(site.settings.keys, "gate"))


def with_canary(share: float) -> RouteMap:
    stages, known = Stages(Rollout()), RouteMap(number=3, routes={TASK.name: route(1)}, since={TASK.name: 1})
    tried = {TASK.name: Stage(route=route(2), kind="canary", share=share, since=0)}
    return stages.staged(known, known.model_copy(update={"trials": tried})).model_copy(update={"number": 4})


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_canarys_share_of_calls_is_the_one_that_was_signed_and_sticks(share: float) -> None:
    known = with_canary(share)
    calls = [Caller(place("test", f"call-{number}"), 4) for number in range(5000)]
    versions = [caller.routes(known)[TASK.name].version for caller in calls]
    assert abs(versions.count("2") / 5000 - share) < 0.01
    assert versions == [caller.routes(known)[TASK.name].version for caller in calls]


def test_calls_that_began_before_the_canary_stay_with_the_champion_and_ingresses_ask() -> None:
    known = with_canary(1.0)
    assert known.asking
    assert [known.seen_by(begun, 0.0)[TASK.name].version for begun in (3, 4)] == ["1", "2"]


def test_calls_of_a_withdrawn_canary_keep_it_and_those_of_a_fallen_one_do_not() -> None:
    known = with_canary(0.5)
    without = known.model_copy(update={"trials": {}})
    withdrawn = Stages(Rollout()).staged(known, without).model_copy(update={"number": 5})
    fallen = Stages(Rollout()).staged(known, without, {route(2).app}).model_copy(update={"number": 5})
    assert [withdrawn.seen_by(begun, 0.1)[TASK.name].version for begun in (4, 5)] == ["2", "1"]
    assert fallen.seen_by(4, 0.1)[TASK.name].version == "1"
    assert route(2).app not in fallen.loaded


def test_a_promoted_canary_keeps_its_calls_and_the_champion_before_keeps_its_own() -> None:
    stages, known = Stages(Rollout()), with_canary(0.5)
    promoted = route(2).model_copy(update={"promotion": 9})
    now = stages.staged(known, known.model_copy(update={"routes": {TASK.name: promoted}, "trials": {}}))
    assert [now.seen_by(4, where)[TASK.name].version for where in (0.1, 0.9)] == ["2", "1"]
    assert now.seen_by(5, 0.9)[TASK.name].version == "2"


def counted(app: str, name: str, compared: int, differed: int, **others: int) -> dict[Key, int]:
    found: dict[Key, int] = {}
    for value in {"", name}:
        found |= {(app, value, "compared"): compared, (app, value, "differed"): differed}
    return found | {(app, "", what): count for what, count in others.items()}  # type: ignore[misc]


def test_one_wrong_dialect_is_enough_to_fall(tmp_path: Path) -> None:
    falls, app = Falls(Rollout(), tmp_path), route(2).app
    right = counted(app, "cmn", 400, 8)
    assert falls.breach(app, right) is None
    wrong = {**right, (app, "hak", "compared"): 25, (app, "hak", "differed"): 24}
    assert falls.breach(app, wrong) == "24 of 25 compared calls in hak were answered otherwise"


def test_few_calls_and_ordinary_differences_let_nobody_fall(tmp_path: Path) -> None:
    falls, app = Falls(Rollout(), tmp_path), route(2).app
    assert falls.breach(app, counted(app, "hak", 10, 10)) is None
    assert falls.breach(app, counted(app, "hak", 1000, 300)) is None
    assert falls.breach(app, counted(app, "", 0, 0, answered=1000, failed=50, slow=90)) is None


def test_failures_and_slow_answers_let_a_version_fall(tmp_path: Path) -> None:
    falls, app = Falls(Rollout(), tmp_path), route(2).app
    assert falls.breach(app, counted(app, "", 0, 0, answered=70, failed=30)) == "30 of 100 calls failed"
    assert falls.breach(app, counted(app, "", 0, 0, answered=100, slow=50)) == "50 of 100 calls took longer than 5 s"


def test_the_bound_is_wilsons() -> None:
    assert at_least(0, 50) == 0.0
    assert at_least(50, 100, z=1.96) == pytest.approx(0.4038, abs=1e-4)
    assert at_least(0, 0) == 0.0


def test_a_window_forgets_an_application_and_keeps_the_worst_pairs_of_each_slice() -> None:
    window = Window()
    pairs = [Pair("a", name, n / 100, {"n": n}, {}, {}) for n in range(30) for name in ("hak", "cmn")]
    window.add(counted("a", "hak", 5, 5), pairs)
    window.add(counted("b", "hak", 1, 0), [])
    assert [pair.question["n"] for pair in window.worst()["a"] if pair.slice == "hak"] == list(range(29, 19, -1))
    window.forget("a")
    assert (window.sums(60)["a", "hak", "compared"], window.sums(60)["b", "hak", "compared"]) == (0, 1)
    assert window.worst() == {}


def test_a_fallen_champion_gives_way_to_the_verified_one_before_until_an_operator_decides(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = site.champion(1), site.champion(2)
    here, chain = policy.load(site.settings.workspace), site.ledger.read()
    champion = chain.champion(TASK.name)
    assert champion
    found = warrant.examine(chain, here, TASK.name, champion.entry)
    known = RouteMap(routes={TASK.name: found.route()})
    watching, wanted = Watching(site.settings.state, here), {TASK.name: found}
    watching.look(known, counted(found.app, "", 0, 0, answered=10, failed=30), {})
    reasons = watching.replace(chain, wanted)
    assert wanted[TASK.name].model == first
    assert "tickets@2 fell back: 30 of 40 calls failed" in reasons[TASK.name]
    assert watching.lost == {found.app}
    assert "falls back" in caplog.text and "[answering: tickets@1]" in caplog.text
    event = json.loads((site.settings.state / "rollout" / "events.jsonl").read_text())
    assert (event["digest"], event["answering"]) == (second.digest, "tickets@1")
    assert site.ledger.read().head == chain.head  # serving signs nothing

    after_a_restart = {TASK.name: found}
    Watching(site.settings.state, here).replace(chain, after_a_restart)
    assert after_a_restart[TASK.name].model == first
    again = site.promote(second, champion.record.verdict)
    chain = site.ledger.read()
    signed = {TASK.name: warrant.examine(chain, here, TASK.name, again)}
    assert Watching(site.settings.state, here).replace(chain, signed) == {}


def test_the_first_champion_has_nobody_to_fall_back_to_and_stays(site: Site) -> None:
    site.champion(1)
    here, chain = policy.load(site.settings.workspace), site.ledger.read()
    champion = chain.champion(TASK.name)
    assert champion
    found = warrant.examine(chain, here, TASK.name, champion.entry)
    watching, wanted = Watching(site.settings.state, here), {TASK.name: found}
    watching.look(RouteMap(routes={TASK.name: found.route()}), counted(found.app, "", 0, 0, failed=90), {})
    assert watching.replace(chain, wanted) == {}
    assert wanted == {TASK.name: found}


def test_differences_stay_in_the_state_folder_and_only_its_owner_reads_them(tmp_path: Path, site: Site) -> None:
    site.champion(1)
    known = RouteMap(routes={TASK.name: route(1)}, trials={TASK.name: Stage(route=route(2), kind="shadow", since=1)})
    pair = Pair(route(2).app, "hak", 1.0, {"text": "<路灯>"}, {"answer": {"label": "a"}}, {"answer": {"label": "b"}})
    watching = Watching(tmp_path, policy.load(site.settings.workspace))
    watching.look(known, counted(route(2).app, "hak", 9, 1), {route(2).app: [pair]})
    place = tmp_path / "rollout" / route(2).app
    for name in ("differences.json", "differences.html"):
        assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert json.loads((place / "differences.json").read_text())["slices"]["hak"] == {"compared": 9, "differed": 1}
    assert "&lt;路灯&gt;" in (place / "differences.html").read_text()
    os.utime(place / "differences.json", (0, 0))
    Watching(tmp_path, policy.load(site.settings.workspace)).look(RouteMap(), {}, {})
    assert not place.exists()


class Board:
    """What a mirror sees of a switchboard: its map, and versions that say their number."""

    def __init__(self, known: RouteMap) -> None:
        self.map, self.asked = known, list[str]()

    async def told(self, other: Route, method: str, seconds: float, *given: Any) -> dict[str, Any]:
        self.asked.append(other.app)
        return said(other)


class Told:
    """The table as a mirror tells it."""

    def __init__(self) -> None:
        self.window = Window()
        self.report = self

    async def remote(self, counts: dict[Key, int], pairs: list[Pair]) -> None:
        self.window.add(counts, pairs)


def said(by: Route) -> dict[str, Any]:
    return {"answer": {"label": by.version}, "confidence": 0.9, "alternatives": []}


@pytest.mark.parametrize(("kind", "answers", "asks"), [("shadow", 1, 2), ("canary", 2, 1)])
def test_a_mirrored_call_is_counted_for_the_challenger_under_the_callers_dialect(
    kind: Any, answers: int, asks: int
) -> None:
    async def scene() -> tuple[list[str], Window]:
        stage = Stage(route=route(2), kind=kind, since=1)
        board: Any = Board(RouteMap(routes={TASK.name: route(1)}, trials={TASK.name: stage}))
        mirror, told = Mirror(), Told()
        mirror.table = told
        CALLER.set(Caller(dialect="hak"))
        question = TASK.input.model_validate({"text": "路灯坏了"})
        mirror.answered(board, route(answers), question, said(route(answers)), 0.1)
        await asyncio.sleep(0.3)
        reporting = asyncio.create_task(mirror.keep_reporting())
        await asyncio.sleep(1.2)
        reporting.cancel()
        return board.asked, told.window

    asked, window = asyncio.run(scene())
    sums, app = window.sums(60), route(2).app
    assert asked == [route(asks).app]
    assert [sums[app, value, "differed"] for value in ("", "hak")] == [1, 1]
    [pair] = window.worst()[app]
    assert (pair.question, pair.champion["answer"], pair.candidate["answer"]) == (
        {"text": "路灯坏了"},
        {"label": "1"},
        {"label": "2"},
    )


def test_labels_differ_or_not_and_texts_by_their_share_of_edits() -> None:
    assert distance("classifier", {"label": "a"}, {"label": "ab"}) == 1.0
    assert (
        distance("transcriber", {"text": "路灯坏了", "dialect": "cmn"}, {"text": "路灯坏咗", "dialect": "cmn"}) == 0.25
    )
    assert distance("transcriber", {"text": "路灯", "dialect": "cmn"}, {"text": "路灯", "dialect": "hak"}) == 1.0


def test_a_champion_is_no_challenger_whatever_an_operator_signed(site: Site) -> None:
    model = site.champion(1)
    trial(site, model, site.judge(model).hash, "canary")
    here, chain = policy.load(site.settings.workspace), site.ledger.read()
    champion = chain.champion(TASK.name)
    assert champion
    wanted = {TASK.name: warrant.examine(chain, here, TASK.name, champion.entry)}
    assert Watching(site.settings.state, here).tried(chain, wanted) == ({}, {TASK.name: "it is the champion"})
