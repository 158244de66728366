"""Where new rows belong: their near-duplicate cluster and their side of the split, given the rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import columns, duplicates, splits
from data import mapping as mappings
from data.drafts import Draft
from data.snapshot import Snapshot
from hotline.errors import ContractError
from hotline.task import Task

_SHOWN_ROWS = 5


@dataclass(frozen=True)
class Known:
    """The rows there are, by id."""

    content: dict[str, str]
    texts: dict[str, str]
    clusters: dict[str, str]
    members: dict[str, splits.Member]


def known(task: Task, previous: Snapshot | None) -> Known:
    """What an import has to know of the rows of the snapshot before it."""
    found = Known({}, {}, {}, {})
    for values in previous.table.to_pylist() if previous else ():
        id = values["id"]
        found.content[id] = columns.content_digest(values)
        found.texts[id] = _text(task, values)
        found.clusters[id] = values["cluster"]
        found.members[id] = splits.Member(id, _keys(task, values, [values["cluster"]]), values["split"])
    return found


def _text(task: Task, values: dict[str, Any]) -> str:
    """What near duplicates are judged by: everything that the caller said."""
    return "\n".join(str(values[f"input.{name}"]) for name in task.input.model_fields)


def _keys(task: Task, values: dict[str, Any], clusters: Sequence[str]) -> tuple[str, ...]:
    named = [f"{column}:{values[f'provenance.{column}']}" for column in task.split_by]
    return (*named, *(f"cluster:{name}" for name in clusters))


def place(task: Task, mapping: mappings.Mapping, changed: Sequence[Draft], known: Known, folder: Path) -> None:
    """Give new and updated rows their cluster and side; one that would bind two sides gets a reason instead.

    Raises ContractError when the table brings its own split and has someone on two sides.
    """
    new = {draft.id: _text(task, draft.values) for draft in changed}
    if task.audio_field:
        found = duplicates.same(new, known.texts, known.clusters)
    else:
        found = duplicates.cluster(new, known.texts, known.clusters, folder)
    members = []
    for draft in changed:
        draft.values["cluster"] = found.names[draft.id]
        keys = _keys(task, draft.values, [found.names[draft.id], *sorted(found.also[draft.id])])
        members.append(splits.Member(draft.id, keys, draft.split))
    placed = splits.place(known.members.values(), members)
    if placed.refused and "split" in mapping.columns:
        raise _given_split_refused(mapping, placed)
    for draft in changed:
        if draft.id in placed.refused:
            draft.reasons.append(str(placed.refused[draft.id]))
        else:
            draft.values["split"] = placed.sides[draft.id]


def _given_split_refused(mapping: mappings.Mapping, placed: splits.Placement) -> ContractError:
    rows = [f"row {id} through {', '.join(refusal.keys)}" for id, refusal in placed.refused.items()]
    return ContractError(
        f"the given split has someone on two sides, in {len(rows)} rows; nothing was stored",
        where=f"column {'+'.join(mapping.columns['split'])}",
        found="; ".join(rows[:_SHOWN_ROWS]),
        expected="a caller and a near-duplicate cluster on one side only",
        next=f"correct the column, or take `split` out of {mapping.path} to have the rows split",
    )
