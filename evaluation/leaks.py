"""Whether a version saw the rows it is tested on: the same row, call, caller, wording or near-duplicate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hotline import digests
from hotline.errors import RefusedError, UnknownName
from hotline.records import Lineage, ModelAddress
from hotline.settings import Settings
from hotline.task import Input, Task

if TYPE_CHECKING:
    from data.store import Rows

TRAINED_ON = ("train", "validation")


def leaks(trained: Rows, test: Rows) -> dict[str, list[str]]:
    """What both sides share, as {row | call | caller | near-duplicate cluster | input: the test rows' ids}."""
    keys: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "row": (trained.ids, test.ids),
        "call": (trained.provenance["call_id"], test.provenance["call_id"]),
        "caller": (trained.provenance["caller_id"], test.provenance["caller_id"]),
        "near-duplicate cluster": (trained.clusters, test.clusters),
        "input": (_inputs(trained.inputs), _inputs(test.inputs)),
    }
    found = {}
    for name, (seen, asked) in keys.items():
        both = set(seen) & set(asked)
        if both:
            found[name] = [id for id, key in zip(test.ids, asked, strict=True) if key in both]
    return found


def trained_rows(settings: Settings, task: Task, lineage: Lineage, address: ModelAddress) -> list[Rows]:
    """The rows that the version was trained and validated on. Raises RefusedError when their snapshot is not here."""
    from data.store import open_snapshot

    try:
        snapshot = open_snapshot(settings, task, lineage.snapshot)
    except UnknownName as error:
        raise RefusedError(
            f"{address.line}@{address.version}: leaks cannot be ruled out, its training snapshot is not here",
            where=lineage.snapshot,
            found=error.what,
            next=f"dvc pull data/corpora/{task.name}, or hotline train {address.line}",
        ) from error
    return [snapshot.rows(split) for split in TRAINED_ON]


def refuse_leaks(settings: Settings, task: Task, lineage: Lineage, address: ModelAddress, test: Rows) -> None:
    """Raises RefusedError naming what the version has seen of the test rows."""
    for split, trained in zip(TRAINED_ON, trained_rows(settings, task, lineage, address), strict=True):
        found = leaks(trained, test)
        if found:
            said = "; ".join(f"the {what} of {len(ids)} (first: {ids[0]})" for what, ids in found.items())
            raise RefusedError(
                f"{address.line}@{address.version} has seen test rows: what it scores there says nothing",
                where=f"{split} split of snapshot {lineage.snapshot[:12]}",
                found=f"of {len(test)} test rows, {said}",
                expected="no call, caller, wording or near-duplicate on both sides",
                next=f"hotline train {address.line}",
            )


def _inputs(inputs: Sequence[Input]) -> list[str]:
    return [digests.of_value(given.model_dump(mode="json")) for given in inputs]
