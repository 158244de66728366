"""Rows whose labels were corrected by people: a new snapshot with the same rows on the same sides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from data import columns, contract, privacy, store
from data.drafts import reasons
from data.manifest import ImportSummary
from data.snapshot import Snapshot
from hotline import policy, tasks
from hotline.digests import canonical_json
from hotline.errors import UnknownName
from hotline.settings import Settings
from hotline.task import Provenance, Task

HUMAN = "human"
_MADE_OF_TEXT = ("segments",)
"""Target fields that say nothing any more once the text is another."""


@dataclass(frozen=True)
class Correction:
    """What a row's target should say: `before` and `after` by field of the task's target."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True)
class Relabelled:
    """The snapshot that came of it, which is the one before when nothing changed."""

    snapshot: str
    before: str
    changed: tuple[str, ...]
    """Row ids."""
    refused: Mapping[str, list[str]]
    """Row ids with every reason."""


def relabel(
    settings: Settings, task: Task, corrections: Mapping[str, Correction], batch: str, file: Path, file_digest: str
) -> Relabelled:
    """Commit the corrections by row id as a snapshot: `label_source` human, `label_batch` as given, splits as before.

    A correction that the row's task, label tree or the row itself does not allow is refused with its reasons; the
    others are stored. Raises UnknownName without a snapshot, ContractError when the whole table breaks the contract.
    """
    owner = tasks.find(task.corpus_name)
    with store.lock(settings, owner):
        previous = store.current(settings, owner)
        if previous is None:
            raise UnknownName(f"no snapshot of {owner.name}", next=f"hotline import {owner.name} FILE")
        wanted = pa.array(list(corrections), pa.string())
        found = previous.table.filter(pc.is_in(previous.table.column("id"), wanted)).to_pylist()
        refused: dict[str, list[str]] = {id: ["id: no such row any more"] for id in corrections}
        changed = []
        for values in found:
            made, wrong = _corrected(task, owner, previous, values, corrections[values["id"]], batch)
            del refused[values["id"]]
            if wrong:
                refused[values["id"]] = wrong
            elif made != values:
                changed.append(made)
        digest = previous.digest
        if changed:
            summary = ImportSummary(
                file=file.name,
                sha256=file_digest,
                batch=batch,
                rows_in=len(corrections),
                kept=len(corrections) - len(refused),
                quarantined=len(refused),
            )
            digest = _commit(settings, owner, previous, changed, summary)
    return Relabelled(digest, previous.digest, tuple(values["id"] for values in changed), refused)


def _commit(
    settings: Settings, owner: Task, previous: Snapshot, changed: Sequence[Mapping[str, Any]], summary: ImportSummary
) -> str:
    table = pa.Table.from_pylist(list(changed), schema=columns.schema(owner))
    tree = previous.tree if previous.manifest.tree else None
    whole = pa.concat_tables(store.cut(previous, table))
    contract.validate(owner, tree, whole, settings.workspace / "data" / "reports")
    site = policy.load(settings.workspace).site
    fractions = previous.manifest.fractions
    return store.commit(settings, owner, previous, table, tree, [summary], site, fractions).digest


def _corrected(
    task: Task, owner: Task, previous: Snapshot, values: Mapping[str, Any], correction: Correction, batch: str
) -> tuple[dict[str, Any], list[str]]:
    """The row as it should be stored, and why it must not be."""
    declared = {column.name: column for column in columns.of_task(owner)}
    places = {name: _place(task, name) for name in correction.after}
    stored = {name: _decoded(declared[place], values[place]) for name, place in places.items()}
    wrong = [
        f"{places[name]}: found another text than was exported: the row was corrected since"
        for name, before in correction.before.items()
        if stored[name] != before
    ]
    if wrong or stored == correction.after:
        return dict(values), wrong
    after = {places[name]: value for name, value in correction.after.items()}
    after |= _that_follow(declared, values, after)
    made = {**values, **{name: _encoded(declared[name], value) for name, value in after.items()}}
    made |= {"provenance.label_source": HUMAN, "provenance.label_batch": batch}
    return made, _reasons(owner, previous, declared, made, list(after))


def _place(task: Task, field: str) -> str:
    """The stored column of a target field."""
    column = task.provenance_fields.get(field)
    return f"provenance.{column}" if column else f"target.{field}"


def _decoded(column: columns.Column, stored: Any) -> Any:
    return json.loads(stored) if column.is_json else stored


def _encoded(column: columns.Column, value: Any) -> Any:
    return canonical_json(value) if column.is_json else value


def _that_follow(
    declared: Mapping[str, columns.Column], values: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """What a new text makes of the fields that point into the old one."""
    if "target.text" not in after:
        return {}
    found: dict[str, Any] = {f"target.{name}": [] for name in _MADE_OF_TEXT if f"target.{name}" in declared}
    if "target.entities" in declared:
        entities = json.loads(values["target.entities"])
        found["target.entities"] = moved(entities, values["target.text"], after["target.text"])
    return found


def moved(entities: Sequence[Mapping[str, Any]], old: str, new: str) -> list[dict[str, Any]]:
    """Spans of `old` where `new` has them; one whose ends were changed or left out goes."""
    from rapidfuzz.distance import Levenshtein

    same = {
        run.src_start + step: run.dest_start + step
        for run in Levenshtein.opcodes(old, new)
        if run.tag == "equal"
        for step in range(run.src_end - run.src_start)
    }
    ends = [(entity, same.get(entity["start"]), same.get(entity["end"] - 1)) for entity in entities]
    return [
        {**entity, "start": start, "end": last + 1}
        for entity, start, last in ends
        if start is not None and last is not None
    ]


def _reasons(
    owner: Task, previous: Snapshot, declared: Mapping[str, columns.Column], made: Mapping[str, Any], named: list[str]
) -> list[str]:
    wrong: list[str] = []
    for part, kind in (("target", owner.target), ("provenance", Provenance)):
        fields = {
            column.field: _decoded(column, made[name]) for name, column in declared.items() if column.part == part
        }
        try:
            kind.model_validate(fields)
        except ValidationError as error:
            wrong += reasons(error, part)
    for name in named:
        if isinstance(made[name], str) and privacy.find_all(made[name]):
            wrong.append(f"{name}: found personal data, expected none in a target")
    label = f"target.{owner.label_field}"
    if label in named and previous.manifest.tree and made[label] not in previous.tree.index:
        wrong.append(
            f"{label}: found {privacy.mask(made[label])!r}, expected one of the {len(previous.tree.leaves)} leaves"
        )
    return wrong
