"""Who makes room in memory: the least recently asked of those at rest, on the same machine, and no more than needed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.residents import FORGET_SECONDS, PATIENCE_SECONDS, WANTED_SECONDS, Resident, Residents

LIMIT = 100


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def residents(clock: Clock) -> Residents:
    return Residents(clock)


def one(name: str, size: int = 40, idle: float | None = 0.0, node: str = "here") -> Resident:
    return Resident(name, node, size, idle)


def test_while_there_is_room_all_stay(residents: Residents) -> None:
    assert residents.enters(one("a"), LIMIT)
    assert residents.enters(one("b"), LIMIT)
    assert residents.stays(one("a"))
    assert residents.stays(one("b"))
    assert residents.bytes() == 80


def test_the_one_asked_least_recently_makes_room_and_no_other(residents: Residents) -> None:
    for name, idle in (("a", 5.0), ("b", 60.0)):
        assert residents.enters(one(name), LIMIT)
        residents.stays(one(name, idle=idle))
    assert not residents.enters(one("c", idle=None), LIMIT)
    assert residents.stays(one("a", idle=5.0))
    assert not residents.stays(one("b", idle=60.0))
    assert not residents.enters(one("c", idle=None), LIMIT), "it is still there"
    residents.left("b")
    assert residents.enters(one("c", idle=None), LIMIT)
    assert residents.bytes() == 80


def test_as_many_make_room_as_it_needs(residents: Residents) -> None:
    for name, idle in (("a", 30.0), ("b", 20.0), ("c", 10.0)):
        residents.enters(one(name, 30), LIMIT)
        residents.stays(one(name, 30, idle))
    residents.enters(one("d", 60, None), LIMIT)
    assert [residents.stays(one(name, 30, idle)) for name, idle in (("a", 30.0), ("b", 20.0), ("c", 10.0))] == [
        False,
        False,
        True,
    ]


def test_one_that_answers_leaves_after_those_at_rest(residents: Residents) -> None:
    for name, idle in (("a", None), ("b", 1.0)):
        residents.enters(one(name), LIMIT)
        residents.stays(one(name, idle=idle))
    residents.enters(one("c", idle=None), LIMIT)
    assert residents.stays(one("a", idle=None))
    assert not residents.stays(one("b", idle=1.0))


def test_one_that_goes_on_answering_leaves_when_patience_ends(residents: Residents, clock: Clock) -> None:
    residents.enters(one("a", 80), LIMIT)
    stayed = list[bool]()
    for _ in range(int(2 * PATIENCE_SECONDS)):
        residents.enters(one("b", idle=None), LIMIT)
        clock.now += 0.5
        stayed.append(residents.stays(one("a", 80, None)))
        clock.now += 0.4
        residents.stays(one("a", 80, 0.1))
    assert stayed[:5] == [True] * 5
    assert not stayed[-1]


def test_one_that_nobody_waits_for_any_more_is_not_made_room_for(residents: Residents, clock: Clock) -> None:
    residents.enters(one("a", 80), LIMIT)
    residents.stays(one("a", 80, None))
    residents.enters(one("b", idle=None), LIMIT)
    clock.now += WANTED_SECONDS + PATIENCE_SECONDS
    assert residents.stays(one("a", 80, 30.0))


def test_each_machine_has_its_own_limit(residents: Residents) -> None:
    assert residents.enters(one("a", 80), LIMIT)
    assert residents.enters(one("b", 80, node="there"), LIMIT)
    assert (residents.bytes("here"), residents.bytes("there"), residents.bytes()) == (80, 80, 160)


def test_the_place_of_a_dead_one_is_given_away(residents: Residents, clock: Clock) -> None:
    residents.enters(one("a", 80), LIMIT)
    residents.stays(one("a", 80, None))
    clock.now += FORGET_SECONDS - 1
    assert not residents.enters(one("b", idle=None), LIMIT)
    clock.now += 2
    assert residents.enters(one("b", idle=None), LIMIT)


def test_after_a_restart_of_the_table_those_in_memory_are_known_again(residents: Residents) -> None:
    assert residents.stays(one("a", 80, 3.0))
    assert not residents.enters(one("b", idle=None), LIMIT)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, LIMIT)), max_size=60))
def test_never_more_than_the_limit_and_everyone_gets_in(calls: list[tuple[str, int]]) -> None:
    """Whoever is called enters after those that are asked to leave have left; sizes are each replica's own."""
    clock = Clock()
    residents, sizes, here, used = Residents(clock), dict[str, int](), dict[str, float](), dict[str, float]()
    for name, size in calls:
        clock.now += 1.0
        used[name] = clock.now
        who = one(name, sizes.setdefault(name, size), None)
        if name not in here:
            if not residents.enters(who, LIMIT):
                for other in sorted(here):
                    if not residents.stays(one(other, sizes[other], clock.now - used[other])):
                        del here[other]
                        residents.left(other)
                assert residents.enters(who, LIMIT)
            here[name] = clock.now
        for other in here:
            residents.stays(one(other, sizes[other], clock.now - used[other]))
        assert residents.bytes() == sum(sizes[other] for other in here) <= LIMIT
