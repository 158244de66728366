"""Whether a version saw the rows it is tested on, or learnt from the system that says what is right there.

Rows: the same row, call, caller, wording or near-duplicate. References: made by a machine system, or in a batch of
machine labels, that also labelled training rows: agreeing with one's teacher is no evidence. People who labelled both
sides are a warning: sites have few annotators (decision 0014).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from hotline import digests
from hotline.errors import RefusedError, UnknownName
from hotline.records import LeakCheck, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.task import Input, Task

if TYPE_CHECKING:
    from data.store import Rows

TRAINED_ON = ("train", "validation")
COMPARED = ("row", "call", "caller", "near-duplicate cluster", "input", "machine system", "machine batch")
NAMES_SHOWN = 3
Labeller = Literal["human", "generated", "machine"]
log = logging.getLogger(__name__)


def leaks(trained: Rows, test: Rows) -> dict[str, list[str]]:
    """What both sides share and must not, as {one of COMPARED: the test rows' ids}."""
    keys: dict[str, tuple[Sequence[str | None], Sequence[str | None]]] = {
        "row": (trained.ids, test.ids),
        "call": (trained.provenance["call_id"], test.provenance["call_id"]),
        "caller": (trained.provenance["caller_id"], test.provenance["caller_id"]),
        "near-duplicate cluster": (trained.clusters, test.clusters),
        "input": (_inputs(trained.inputs), _inputs(test.inputs)),
        "machine system": (_of("machine", trained, "label_source"), _of("machine", test, "label_source")),
        "machine batch": (_of("machine", trained, "label_batch"), _of("machine", test, "label_batch")),
    }
    found = {}
    for name, (seen, asked) in keys.items():
        both = (set(seen) & set(asked)) - {None}
        if both:
            found[name] = [id for id, key in zip(test.ids, asked, strict=True) if key in both]
    return found


def labeller(source: str) -> Labeller:
    """Who made a label: `human` and `human:NAME` are people; what is neither they nor `generated` is a machine."""
    kind = source.partition(":")[0].strip().casefold()
    return "human" if kind == "human" else "generated" if kind == "generated" else "machine"


def warnings(trained: Mapping[str, Rows], test: Rows) -> Iterator[str]:
    """What both sides share and may, in words."""
    batches = {batch for rows in trained.values() for batch in _of("human", rows, "label_batch") if batch}
    shared = [batch for batch in _of("human", test, "label_batch") if batch in batches]
    if shared:
        named = sorted(set(shared))
        more = f" and {len(named) - NAMES_SHOWN} more" if len(named) > NAMES_SHOWN else ""
        yield (
            f"people labelled {len(shared)} of {len(test)} test rows in batches that also have training rows: "
            f"{', '.join(named[:NAMES_SHOWN])}{more}"
        )
    generated = sum(labeller(source) == "generated" for source in test.provenance["label_source"])
    if generated:
        yield f"the truth of {generated} of {len(test)} test rows was generated with them"


def snapshots(lineage: Lineage) -> tuple[str, ...]:
    """Everything that the version or a part of it was trained on, its own first."""
    every = (lineage.snapshot, *(found for part in lineage.parts.values() for found in snapshots(part.lineage)))
    return tuple(dict.fromkeys(every))


def trained_rows(settings: Settings, task: Task, digest: str, address: ModelAddress) -> dict[str, Rows]:
    """The rows of that snapshot that the version was trained and validated on, by split.

    Raises RefusedError when the snapshot is not here.
    """
    from data.store import open_snapshot

    try:
        snapshot = open_snapshot(settings, task, digest)
    except UnknownName as error:
        raise RefusedError(
            f"{address.line}@{address.version}: leaks cannot be ruled out, its training snapshot is not here",
            where=digest,
            found=error.what,
            next=f"dvc pull data/corpora/{task.name}, or hotline train {address.line}",
        ) from error
    return {split: snapshot.rows(split) for split in TRAINED_ON}


def refuse_leaks(settings: Settings, task: Task, lineage: Lineage, address: ModelAddress, test: Rows) -> LeakCheck:
    """What was compared, and what both sides share and may.

    Raises RefusedError naming what the version has seen of the test rows, or which machine made its labels and theirs.
    """
    trained: dict[str, Rows] = {}
    for digest in snapshots(lineage):
        learnt = trained_rows(settings, task, digest, address)
        _refuse(address, digest, learnt, test)
        trained |= learnt if digest == lineage.snapshot else {f"{digest[:12]} {name}": learnt[name] for name in learnt}
    return LeakCheck(
        compared=COMPARED,
        test_rows=len(test),
        trained_rows={split: len(rows) for split, rows in trained.items()},
        warnings=tuple(warnings(trained, test)),
    )


def _refuse(address: ModelAddress, snapshot: str, trained: Mapping[str, Rows], test: Rows) -> None:
    for split, rows in trained.items():
        found = leaks(rows, test)
        machine = {what: ids for what, ids in found.items() if what.startswith("machine")}
        where = f"{split} split of snapshot {snapshot[:12]}"
        if len(found) > len(machine):
            raise _seen(address, where, test, {what: ids for what, ids in found.items() if what not in machine})
        if machine:
            raise _same_teacher(address, where, test, machine)


def _seen(address: ModelAddress, where: str, test: Rows, found: Mapping[str, Sequence[str]]) -> RefusedError:
    said = "; ".join(f"the {what} of {len(ids)} (first: {ids[0]})" for what, ids in found.items())
    return RefusedError(
        f"{address.line}@{address.version} has seen test rows: what it scores there says nothing",
        where=where,
        found=f"of {len(test)} test rows, {said}",
        expected="no call, caller, wording or near-duplicate on both sides",
        next=f"hotline train {address.line}",
    )


def _same_teacher(address: ModelAddress, where: str, test: Rows, found: Mapping[str, Sequence[str]]) -> RefusedError:
    what, ids = next(iter(found.items()))
    column = "label_source" if what == "machine system" else "label_batch"
    made = dict(zip(test.ids, test.provenance[column], strict=True))
    named = sorted({made[id] for id in ids})
    return RefusedError(
        f"{address.line}@{address.version}: the references of test rows were made by the {what} that labelled its "
        "training rows",
        where=where,
        found=f"{len(ids)} of {len(test)} test rows (first: {ids[0]}), {column} {', '.join(named[:NAMES_SHOWN])}",
        expected="references that people made, or a machine that taught this version nothing",
        next="have people label the test rows and import them again",
    )


def _of(who: Labeller, rows: Rows, column: str) -> list[str | None]:
    """The column where that kind of labeller made the label, None elsewhere."""
    pairs = zip(rows.provenance["label_source"], rows.provenance[column], strict=True)
    return [value if labeller(source) == who else None for source, value in pairs]


def _inputs(inputs: Sequence[Input]) -> list[str]:
    return [digests.of_value(given.model_dump(mode="json")) for given in inputs]
