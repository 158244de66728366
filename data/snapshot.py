"""One version of a corpus, opened: its rows as columns, typed, filtered by split and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data import audio_shards, columns
from data.manifest import Manifest, broken, read_shard, read_tree
from hotline import digests
from hotline.errors import InputError, UnknownName
from hotline.labels import LabelTree
from hotline.task import Input, Provenance, Target, Task


@dataclass(frozen=True)
class Rows:
    """Rows as columns of equal length, sorted by id. `provenance` has the text columns of Provenance by name."""

    ids: list[str]
    inputs: list[Input]
    targets: list[Target]
    provenance: dict[str, list[str]]
    clusters: list[str]
    """Near-duplicate cluster of each row."""
    splits: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def digest(self) -> str:
        """Of ids and targets, whatever their order: a re-labelled test set is another one."""
        pairs = zip(self.ids, self.targets, strict=True)
        return digests.of_set(digests.of_value([id, target.model_dump(mode="json")]) for id, target in pairs)


@dataclass(frozen=True)
class Snapshot:
    """One version of a corpus, whose bytes were checked when it was opened."""

    folder: Path
    manifest: Manifest
    task: Task
    tables: tuple[Any, ...] = field(repr=False, compare=False)
    """One Arrow table per shard."""
    sounds: audio_shards.Sounds | None = field(default=None, repr=False, compare=False)
    """The clips of tasks about sound."""
    seen_as: Task | None = None
    """The task whose targets the rows give, where that is not the one they were imported for."""

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @cached_property
    def tree(self) -> LabelTree:
        """The label tree. Raises UnknownName for a task without one."""
        if self.manifest.tree is None:
            raise UnknownName(f"{self.task.name} has no label tree", where=str(self.folder), next="hotline tasks")
        return read_tree(self.folder, self.manifest.tree)

    @cached_property
    def table(self) -> Any:
        """Every row, sorted by id."""
        return pa.concat_tables(self.tables).sort_by("id")

    def rows(self, split: str | None = None, where: Mapping[str, Sequence[str]] | None = None) -> Rows:
        """The rows of a split, or of all, whose provenance has one of the given values in each given column.

        Raises InputError for a split or a column that there is not.
        """
        if split is not None and split not in columns.SPLITS:
            raise InputError("no such split", found=split, expected="one of " + ", ".join(columns.SPLITS))
        table = self.table if split is None else self.table.filter(pc.equal(self.table.column("split"), split))
        for name, values in (where or {}).items():
            if name not in Provenance.model_fields:
                raise InputError("no such provenance column", found=name, expected=", ".join(Provenance.model_fields))
            table = table.filter(pc.is_in(table.column(f"provenance.{name}"), pa.array(list(values), pa.string())))
        return self._typed(table)

    def inputs(self, ids: Sequence[str]) -> list[Input]:
        """What was asked in these rows, in that order, without the others. Raises UnknownName for one there is not."""
        places = pc.index_in(pa.array(list(ids), pa.string()), self.table.column("id"))
        if places.null_count:
            missing = next(id for id, place in zip(ids, places.to_pylist(), strict=True) if place is None)
            raise UnknownName("the snapshot has no such row", where=self.digest[:12], found=missing)
        task = self.seen_as or self.task
        declared = [column for column in columns.of_task(task) if column.part == "input"]
        return columns.parts(task.input, declared, self.table.take(places), sounds=self.sounds)

    def _typed(self, table: Any) -> Rows:
        task = self.seen_as or self.task
        declared = columns.of_task(task)
        named = {part: [column for column in declared if column.part == part] for part in ("input", "target")}
        provenance = [column for column in declared if column.part == "provenance" and column.kind == pa.string()]
        return Rows(
            ids=table.column("id").to_pylist(),
            inputs=columns.parts(task.input, named["input"], table, sounds=self.sounds),
            targets=columns.parts(task.target, named["target"], table, task.provenance_fields),
            provenance={column.field: table.column(column.name).to_pylist() for column in provenance},
            clusters=table.column("cluster").to_pylist(),
            splits=table.column("split").to_pylist(),
        )


def load(folder: Path, manifest: Manifest, task: Task, every_sample: bool = True) -> Snapshot:
    """The snapshot of a manifest with every byte and digest checked. Raises IntegrityError naming what differs.

    Without `every_sample`, of the sound only indices and lengths are checked.
    """
    tables = tuple(read_shard(folder / shard.path, shard, columns.schema(task)) for shard in manifest.shards)
    sounds = audio_shards.open_shards(folder, manifest.audio, every_sample) if task.audio_field else None
    snapshot = Snapshot(folder, manifest, task, tables, sounds)
    found = digest_of(task, manifest.tree, manifest.contract, snapshot.table)
    if found != manifest.digest:
        raise broken("the rows differ from the snapshot's digest", folder, found, manifest.digest)
    _refuse_silent_rows(snapshot)
    return snapshot


def _refuse_silent_rows(snapshot: Snapshot) -> None:
    """Raises IntegrityError when a row's sound is in none of the shards."""
    if snapshot.sounds is None:
        return
    wanted = snapshot.table.column(f"input.{snapshot.task.audio_field}").to_pylist()
    missing = [digest for digest in wanted if digest not in snapshot.sounds]
    if missing:
        raise broken(
            f"the sound of {len(missing)} rows is in no audio shard", snapshot.folder, missing[0], "every clip stored"
        )


def digest_of(task: Task, tree: str | None, contract: str, table: Any) -> str:
    """A snapshot's digest: of its rows, splits, label tree and contract, however they are cut into shards."""
    return digests.of_value([task.name, tree, contract, digests.of_set(columns.row_digests(table))])
