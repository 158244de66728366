"""Sticky splits: a caller and a near-duplicate cluster are on one side only, for good.

Rows that share a key belong together, in chains. Such a component stays where a row of it is already; a new one is
placed by the hash of its smallest row id, so that the same rows are split the same way everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

FRACTIONS: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


@dataclass(frozen=True)
class Member:
    """A row and what binds it to others, such as `caller_id:9f…`; `side` where it is, or has to be."""

    id: str
    keys: tuple[str, ...]
    side: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a row cannot be placed: `keys` bind it to rows on different `sides`."""

    keys: tuple[str, ...]
    sides: tuple[str, ...]

    def __str__(self) -> str:
        return f"split: binds rows on two sides ({' and '.join(self.sides)}) through {', '.join(self.keys)}"


@dataclass
class Placement:
    """The side of every new row that could be placed, and why the others could not."""

    sides: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)


class _Components:
    """Union-find over rows and keys, where a component knows its side."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}
        self.side: dict[str, str] = {}

    def root(self, node: str) -> str:
        parent = self.parent.setdefault(node, node)
        while parent != node:
            self.parent[node] = self.parent[parent]
            node, parent = parent, self.parent[self.parent[node]]
        return node

    def join(self, nodes: Iterable[str], side: str | None) -> None:
        roots = {self.root(node) for node in nodes}
        sides = {self.side[root] for root in roots if root in self.side} | ({side} if side else set())
        first, *others = sorted(roots)
        for other in others:
            self.parent[other] = first
        if sides:
            self.side[first] = min(sides)

    def sides_of(self, nodes: Iterable[str]) -> dict[str, str]:
        """The side of every node that has one."""
        roots = ((node, self.root(node)) for node in nodes)
        return {node: self.side[root] for node, root in roots if root in self.side}


def place(old: Iterable[Member], new: Iterable[Member], fractions: Mapping[str, float] = FRACTIONS) -> Placement:
    """Sides for the new rows; rows of `old` do not move. A new row that would bind two sides is refused."""
    components, placement = _Components(), Placement()
    for member in old:
        components.join(_nodes(member), member.side)
    placed = []
    for member in sorted(new, key=lambda member: (member.side is None, member.id)):
        nodes = _nodes(member)
        found = components.sides_of(nodes)
        sides = {*found.values(), *([member.side] if member.side else [])}
        if len(sides) > 1:
            placement.refused[member.id] = Refusal(
                tuple(node for node in sorted(found) if not node.startswith("row:")) or ("its own earlier side",),
                tuple(sorted(sides)),
            )
            continue
        components.join(nodes, member.side)
        placed.append(member.id)
    smallest: dict[str, str] = {}
    for id in sorted(placed):
        root = components.root(f"row:{id}")
        first = smallest.setdefault(root, id)
        placement.sides[id] = components.side.get(root) or by_hash(first, fractions)
    return placement


def _nodes(member: Member) -> tuple[str, ...]:
    return (f"row:{member.id}", *member.keys)


def by_hash(id: str, fractions: Mapping[str, float]) -> str:
    """Where that id falls when [0, 1) is cut by `fractions`, in their order."""
    point = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8]) / 2**64
    ends = accumulate(fraction / sum(fractions.values()) for fraction in fractions.values())
    return next((side for side, end in zip(fractions, ends, strict=True) if point < end), list(fractions)[-1])
