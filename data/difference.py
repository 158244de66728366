"""What changed between two snapshots of a corpus."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from data.snapshot import Snapshot

SHOWN = 20
"""Kinds of relabelling and leaves listed for people; `as_dict` has all of them."""


@dataclass(frozen=True)
class Difference:
    """From snapshot `a` to snapshot `b`, in rows."""

    a: str
    b: str
    added: int
    removed: int
    relabelled: dict[str, int]
    """Rows by "old → new" target."""
    rewritten: int
    """Rows whose input changed."""
    moved_split: int
    """Rows on another side of the split than before; splits are sticky, so this is 0."""
    leaves_added: tuple[str, ...]
    leaves_removed: tuple[str, ...]
    slices: dict[str, dict[str, tuple[int, int]]]
    """Rows in `a` and in `b`, per split and slice column and value."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.a[:12]} → {self.b[:12]}",
            f"  rows: {self.added} added, {self.removed} removed, {sum(self.relabelled.values())} relabelled, "
            f"{self.rewritten} with another text, {self.moved_split} on another side of the split",
            *(f"    {change}: {count}" for change, count in list(self.relabelled.items())[:SHOWN]),
            f"  label tree: {len(self.leaves_added)} leaves added, {len(self.leaves_removed)} removed",
            *(f"    + {leaf}" for leaf in self.leaves_added[:SHOWN]),
            *(f"    - {leaf}" for leaf in self.leaves_removed[:SHOWN]),
        ]
        for column, values in self.slices.items():
            changes = [f"{value} {before} → {after}" for value, (before, after) in values.items() if before != after]
            lines.append(f"  {column}: " + (", ".join(changes[:SHOWN]) or "as before"))
        return "\n".join(lines)


def _texts(snapshot: Snapshot, part: str) -> dict[str, str]:
    """One text per row id for that part of the row."""
    table = snapshot.table
    names = [name for name in table.column_names if name.startswith(f"{part}.")]
    stored = [table.column(name).to_pylist() for name in names]
    values = (" | ".join(map(str, row)) for row in zip(*stored, strict=True))
    return dict(zip(table.column("id").to_pylist(), values, strict=True))


def _splits(snapshot: Snapshot) -> dict[str, str]:
    table = snapshot.table
    return dict(zip(table.column("id").to_pylist(), table.column("split").to_pylist(), strict=True))


def _slice_counts(a: Snapshot, b: Snapshot) -> dict[str, dict[str, tuple[int, int]]]:
    counts = {}
    for name in ("split", *(f"provenance.{column}" for column in a.task.slices)):
        before, after = (Counter(snapshot.table.column(name).to_pylist()) for snapshot in (a, b))
        counts[name.removeprefix("provenance.")] = {
            value: (before[value], after[value]) for value in sorted(before | after)
        }
    return counts


def difference(a: Snapshot, b: Snapshot) -> Difference:
    """What changed from `a` to `b`."""
    targets_a, targets_b = _texts(a, "target"), _texts(b, "target")
    inputs_a, inputs_b = _texts(a, "input"), _texts(b, "input")
    splits_a, splits_b = _splits(a), _splits(b)
    common = splits_a.keys() & splits_b.keys()
    relabelled = Counter(f"{targets_a[id]} → {targets_b[id]}" for id in common if targets_a[id] != targets_b[id])
    leaves_a, leaves_b = (set(s.tree.leaves) if s.manifest.tree else set() for s in (a, b))
    return Difference(
        a=a.digest,
        b=b.digest,
        added=len(splits_b) - len(common),
        removed=len(splits_a) - len(common),
        relabelled=dict(relabelled.most_common()),
        rewritten=sum(inputs_a[id] != inputs_b[id] for id in common),
        moved_split=sum(splits_a[id] != splits_b[id] for id in common),
        leaves_added=tuple(sorted(leaves_b - leaves_a)),
        leaves_removed=tuple(sorted(leaves_a - leaves_b)),
        slices=_slice_counts(a, b),
    )
