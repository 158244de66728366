"""A call with an id is answered by one version over all its requests, whatever is promoted, at any ingress."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hotline.rollout import Rollout
from serving.rollout.begun import Begun, hashed, place
from serving.rollout.callers import Callers
from serving.rollout.stages import Stages
from serving.routes import Route, RouteMap, RouteTable

TASK = "ticket_category"


def route(version: int, task: str = TASK) -> Route:
    return Route(
        task=task,
        line="tickets",
        version=str(version),
        digest=f"{version:064x}",
        verdict="a" * 64,
        promotion=2 * version,
        promoted="2026-01-01T00:00:00+00:00",
        profile="demo",
        outcome="passed",
        site="test",
        engine="in process",
        app=f"{task}-{version}",
    )


class Local:
    """The route table's own code, reached as its actor is."""

    def __init__(self) -> None:
        self._table = RouteTable()

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._table, name))


class Controlled:
    """What the controller does to maps."""

    def __init__(self, **rollout: Any) -> None:
        self.stages, self.map = Stages(Rollout(**rollout)), RouteMap()

    def answer_by(self, *routes: Route) -> RouteMap:
        fresh = self.stages.staged(self.map, RouteMap(routes={each.task: each for each in routes}))
        self.map = fresh.model_copy(update={"number": self.map.number + 1})
        return self.map


class Ingress:
    """One ingress's knowledge of calls, at a map of its own."""

    def __init__(self, table: Local) -> None:
        self.callers, self.map, self._table = Callers("test"), RouteMap(), table

    async def adopt(self, fresh: RouteMap) -> None:
        await self.callers.follow(self._table, fresh.asking)
        self.map = fresh

    async def version(self, call: str) -> str:
        board: Any = self
        begun = await self.callers.begun(board, call)
        return self.map.seen_by(begun)[TASK].version


def test_a_call_keeps_its_version_over_promotions_and_a_rollback() -> None:
    control = Controlled()
    began = {version: control.answer_by(route(version)).number for version in (1, 2, 3)}
    back = control.answer_by(route(2)).number
    assert {v: control.map.seen_by(n)[TASK].version for v, n in began.items()} == {1: "1", 2: "2", 3: "3"}
    assert control.map.seen_by(back)[TASK].version == control.map.seen_by(None)[TASK].version == "2"


def test_the_oldest_version_gives_way_when_too_many_would_be_warm() -> None:
    control = Controlled(warm_versions=1)
    began = [control.answer_by(route(version)).number for version in (1, 2, 3)]
    assert set(control.map.loaded) == {f"{TASK}-2", f"{TASK}-3"}
    assert [control.map.seen_by(number)[TASK].version for number in began] == ["2", "2", "3"]


@pytest.mark.parametrize("rollout", [{"warm_versions": 0}, {"warm_seconds": 0}])
def test_a_site_may_keep_nothing_warm(rollout: dict[str, Any]) -> None:
    control = Controlled(**rollout)
    first = control.answer_by(route(1)).number
    control.answer_by(route(2))
    assert not control.map.asking
    assert set(control.map.loaded) == {f"{TASK}-2"}
    assert control.map.seen_by(first)[TASK].version == "2"


def test_another_task_goes_on_unchanged() -> None:
    control = Controlled()
    other = route(7, "dialect_identification")
    first = control.answer_by(route(1), other).number
    control.answer_by(route(2), other)
    assert control.map.seen_by(first)["dialect_identification"] == other
    assert [stage.route.task for stage in control.map.warm] == [TASK]


def test_an_ingress_that_never_heard_of_the_call_answers_it_by_the_version_it_began_with() -> None:
    async def scene() -> list[str]:
        table, control = Local(), Controlled()
        one, two = Ingress(table), Ingress(table)
        first = control.answer_by(route(1))
        for ingress in (one, two):
            await ingress.adopt(first)
        said = [await one.version("call-a")]
        coming = first.model_copy(update={"number": 2, "asking": True})
        control.map = coming
        for ingress in (one, two):
            await ingress.adopt(coming)
        said.append(await two.version("call-b"))
        second = control.answer_by(route(2))
        await one.adopt(second)  # the other one is a map behind
        said += [await one.version("call-b"), await one.version("call-c")]
        await two.adopt(second)
        return [*said, *[await two.version(f"call-{name}") for name in "acd"]]

    assert asyncio.run(scene()) == ["1", "1", "1", "2", "1", "2", "2"]


def test_an_ingress_that_starts_anew_learns_what_the_killed_one_had_handed_over() -> None:
    async def scene() -> str:
        table, control = Local(), Controlled()
        killed, fresh = Ingress(table), Ingress(table)
        await killed.adopt(control.answer_by(route(1)))
        await killed.version("call-a")
        handing = asyncio.create_task(killed.callers.keep_handing())
        await asyncio.sleep(1.2)
        handing.cancel()
        await fresh.adopt(control.answer_by(route(2)))
        return await fresh.version("call-a")

    assert asyncio.run(scene()) == "1"


def test_an_ingress_waits_for_the_map_that_another_one_is_ahead() -> None:
    async def scene() -> tuple[str, str]:
        table, control = Local(), Controlled()
        one, two = Ingress(table), Ingress(table)
        first = control.answer_by(route(1)).model_copy(update={"asking": True})
        for ingress in (one, two):
            await ingress.adopt(first)
        second = control.answer_by(route(2))
        await one.adopt(second)
        ahead = await one.version("call-x")
        behind = asyncio.create_task(two.version("call-x"))
        await asyncio.sleep(0.05)
        await two.adopt(second)
        return ahead, await behind

    assert asyncio.run(scene()) == ("2", "2")


def test_what_is_known_of_calls_is_bounded_and_names_nobody() -> None:
    known = Begun(silent_seconds=60, calls=100)
    for number in range(500):
        known.put(hashed("test", f"call-{number}"), number)
    assert len(known) == 100
    assert known.get(hashed("test", "call-0")) is None
    assert known.put(hashed("test", "call-499"), 7) == 499
    assert all(len(name) == 8 for name in known.all())


def test_a_call_that_was_silent_for_long_begins_anew() -> None:
    known = Begun(silent_seconds=0.0)
    known.put(b"a", 1)
    assert known.put(b"a", 2) == 2


def test_places_are_spread_evenly_and_differ_by_site() -> None:
    places = [place("test", f"call-{number}") for number in range(5000)]
    for share in (0.05, 0.1, 0.5):
        assert abs(sum(each < share for each in places) / 5000 - share) < 0.01
    assert place("test", "call-1") == places[1] != place("other", "call-1")


def test_an_ingress_that_has_just_started_decides_nothing_before_it_has_a_map() -> None:
    async def scene() -> str:
        table, control = Local(), Controlled()
        old, fresh = Ingress(table), Ingress(table)
        await old.adopt(control.answer_by(route(1)))
        second = control.answer_by(route(2))
        await old.adopt(second)
        await old.version("call-new")
        waiting = asyncio.create_task(fresh.version("call-new"))
        await asyncio.sleep(0.05)
        await fresh.adopt(second)
        return await waiting

    assert asyncio.run(scene()) == "2"
