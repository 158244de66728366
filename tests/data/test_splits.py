"""A caller is never on both sides, whoever calls next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from data.splits import FRACTIONS, Member, by_hash, place

rows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=60)


def members(pairs: list[tuple[int, int]], first: int = 0) -> list[Member]:
    return [
        Member(f"r{number + first:04d}", (f"caller_id:{caller}", f"cluster:{cluster}"))
        for number, (caller, cluster) in enumerate(pairs)
    ]


@given(rows, rows)
def test_a_caller_and_a_cluster_are_never_on_both_sides(
    earlier: list[tuple[int, int]], later: list[tuple[int, int]]
) -> None:
    old, new = members(earlier), members(later, first=1000)
    before = place([], old)
    known = [Member(row.id, row.keys, before.sides[row.id]) for row in old]
    after = place(known, new)
    sides = before.sides | after.sides
    for key in {key for row in [*old, *new] for key in row.keys}:
        assert len({sides[row.id] for row in [*old, *new] if key in row.keys and row.id in sides}) <= 1
    assert sides.keys() | after.refused.keys() == {row.id for row in [*old, *new]}
    assert not before.refused


@given(rows)
def test_the_order_of_rows_does_not_matter(pairs: list[tuple[int, int]]) -> None:
    assert place([], members(pairs)).sides == place([], list(reversed(members(pairs)))).sides


def test_a_new_row_that_binds_two_sides_is_refused_with_the_reason() -> None:
    old = [Member("a", ("caller_id:1",), "train"), Member("b", ("caller_id:2", "cluster:x"), "test")]
    placed = place(old, [Member("n", ("caller_id:1", "cluster:x")), Member("o", ("caller_id:1",))])
    assert placed.sides == {"o": "train"}
    assert "test and train" in str(placed.refused["n"])
    assert "caller_id:1, cluster:x" in str(placed.refused["n"])


def test_a_row_stays_where_it_is_when_it_comes_again() -> None:
    old = [Member("a", ("caller_id:1",), "test")]
    assert place(old, [Member("a", ("caller_id:9",))]).sides == {"a": "test"}


def test_fractions_are_met_over_many_rows() -> None:
    sides = [by_hash(str(number), FRACTIONS) for number in range(20_000)]
    for side, fraction in FRACTIONS.items():
        assert abs(sides.count(side) / len(sides) - fraction) < 0.01
