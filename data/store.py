"""The corpus store: append-only, content-addressed shards of rows, and snapshots over them.

    rows/<sha256>.parquet      shards; the same rows have the same bytes
    snapshots/<digest>.json    manifests
    labels/<digest>.json       label trees
    audio/<sha256>.pcm         sound, raw, apart from the rows; with its index
    signatures/…               MinHash signatures, so that an import computes only those of new texts
    HEAD                       digest of the current snapshot

DVC pins the folder as a whole. A snapshot's digest covers rows, splits, label tree and contract, not how the rows are
cut into shards.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import audio_shards, columns
from data.difference import Difference, difference
from data.manifest import AudioShard, ImportSummary, Manifest, Shard, contract_digest, corpus_folder, read_manifest
from data.snapshot import Rows, Snapshot, digest_of, load
from hotline import tasks
from hotline.errors import ContractError, UnknownName
from hotline.labels import LabelTree
from hotline.settings import Settings
from hotline.task import Task

__all__ = [
    "Difference",
    "ImportSummary",
    "Manifest",
    "Rows",
    "Snapshot",
    "commit",
    "corpus_folder",
    "current",
    "cut",
    "diff",
    "head",
    "lock",
    "open_snapshot",
    "versions",
]

SHARD_ROWS = 50_000
MAX_SHARDS = 48
"""More shards than this are merged, so that a corpus stays dozens of files."""


def head(settings: Settings, task: Task) -> str | None:
    """Digest of the current snapshot, or None before the first import."""
    path = corpus_folder(settings, task) / "HEAD"
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def versions(settings: Settings, task: Task) -> list[Manifest]:
    """Every snapshot of the corpus, newest first."""
    found = [read_manifest(path) for path in (corpus_folder(settings, task) / "snapshots").glob("*.json")]
    return sorted(found, key=lambda manifest: (manifest.created, manifest.digest), reverse=True)


def open_snapshot(settings: Settings, task: Task, digest: str | None = None, *, every_sample: bool = True) -> Snapshot:
    """The snapshot whose digest begins with `digest`, by default the current one; of sound, `every_sample` checked.

    Raises UnknownName when there is none, IntegrityError when bytes differ from the manifest, ContractError when the
    declaration has changed since or a caller or near-duplicate cluster is on two sides.
    """
    owner = tasks.find(task.corpus_name)
    snapshot = load(corpus_folder(settings, task), _find(settings, owner, digest), owner, every_sample)
    if snapshot.manifest.contract != contract_digest(owner):
        raise ContractError(
            f"{owner.name} declares other inputs or targets than this snapshot was checked against",
            where=f"snapshot {snapshot.digest[:12]}",
            next=f"hotline import {owner.name} FILE --mapping MAPPING",
        )
    for name in ("cluster", *(f"provenance.{column}" for column in task.split_by)):
        _refuse_two_sides(snapshot, name)
    return snapshot if owner is task else replace(snapshot, seen_as=task)


def current(settings: Settings, task: Task) -> Snapshot | None:
    """What an import adds to; None before the first one. Its rows are checked, its contract may be an older one."""
    if head(settings, task) is None:
        return None
    return load(corpus_folder(settings, task), _find(settings, task, None), task, every_sample=False)


def _find(settings: Settings, task: Task, digest: str | None) -> Manifest:
    wanted = digest or head(settings, task)
    folder = corpus_folder(settings, task)
    found = [] if not wanted else sorted((folder / "snapshots").glob(f"{wanted}*.json"))
    if len(found) != 1:
        raise UnknownName(
            f"no snapshot of {task.name}" if not found else f"{len(found)} snapshots of {task.name} begin so",
            where=str(folder),
            found=wanted,
            expected="a digest, or an unambiguous beginning of one" if wanted else None,
            next=f"hotline data versions {task.name}"
            if wanted and head(settings, task)
            else f"hotline import {task.name} FILE --mapping MAPPING, or `dvc pull`",
        )
    return read_manifest(found[0])


def _refuse_two_sides(snapshot: Snapshot, name: str) -> None:
    pairs = snapshot.table.select([name, "split"]).group_by([name, "split"]).aggregate([])
    counts = Counter(pairs.column(name).to_pylist())
    both = sorted(value for value, count in counts.items() if count > 1)
    if both:
        raise ContractError(
            f"{len(both)} values of {name} are on two sides of the split",
            where=f"snapshot {snapshot.digest[:12]}",
            found=", ".join(both[:3]),
            expected="one side each",
            next=f"hotline data versions {snapshot.task.name}, and use a snapshot before this one",
        )


def diff(settings: Settings, task: Task, a: str, b: str) -> Difference:
    """What changed from snapshot `a` to snapshot `b`, each named by its digest or the beginning of it."""
    return difference(open_snapshot(settings, task, a), open_snapshot(settings, task, b))


@contextmanager
def lock(settings: Settings, task: Task) -> Iterator[None]:
    """One import at a time per corpus on this machine; a second one waits."""
    settings.state.mkdir(parents=True, exist_ok=True)
    with (settings.state / f"{task.name}.import.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def commit(
    settings: Settings,
    task: Task,
    previous: Snapshot | None,
    changed: Any,
    tree: LabelTree | None,
    imports: Sequence[ImportSummary],
    site: str,
    fractions: dict[str, float],
    audio: audio_shards.Staging | None = None,
) -> Manifest:
    """Store `changed` (an Arrow table of new rows, and of rows that supersede those of the same id) as a snapshot.

    Gives back its manifest, which is the one there was when nothing is different. HEAD moves last.
    """
    folder = corpus_folder(settings, task)
    tables = cut(previous, changed)
    whole = pa.concat_tables(tables).sort_by("id")
    tree_digest = _save_tree(folder, tree) if tree else None
    contract = contract_digest(task)
    digest = digest_of(task, tree_digest, contract, whole)
    place = folder / "snapshots" / f"{digest}.json"
    if place.exists():
        _write(folder / "HEAD", f"{digest}\n".encode())
        return read_manifest(place)
    manifest = Manifest(
        digest=digest,
        task=task.name,
        site=site,
        created=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        parent=previous.digest if previous else None,
        rows=whole.num_rows,
        splits={split: pc.sum(pc.equal(whole.column("split"), split)).as_py() or 0 for split in columns.SPLITS},
        tree=tree_digest,
        contract=contract,
        shards=tuple(_save_shard(folder, table) for table in tables),
        audio=(*(previous.manifest.audio if previous else ()), *_published(task, changed, audio)),
        fractions=fractions,
        imports=(*(previous.manifest.imports if previous else ()), *imports),
    )
    _write(place, manifest.model_dump_json(indent=1).encode())
    _write(folder / "HEAD", f"{digest}\n".encode())
    return manifest


def _published(task: Task, changed: Any, audio: audio_shards.Staging | None) -> tuple[AudioShard, ...]:
    return audio.publish(changed.column(f"input.{task.audio_field}").to_pylist()) if audio and task.audio_field else ()


def cut(previous: Snapshot | None, changed: Any) -> list[Any]:
    """The new snapshot's shards: superseded rows are replaced in their own shard, new rows get shards of theirs."""
    tables, fresh = [], changed
    for table in previous.tables if previous else ():
        superseding = pc.is_in(fresh.column("id"), table.column("id"))
        replacements, fresh = fresh.filter(superseding), fresh.filter(pc.invert(superseding))
        if replacements.num_rows:
            kept = table.filter(pc.invert(pc.is_in(table.column("id"), replacements.column("id"))))
            table = pa.concat_tables([kept, replacements]).sort_by("id")
        tables.append(table)
    tables += _slices(fresh)
    return tables if len(tables) <= MAX_SHARDS else _slices(pa.concat_tables(tables))


def _slices(table: Any) -> list[Any]:
    ordered = table.sort_by("id")
    return [ordered.slice(start, SHARD_ROWS) for start in range(0, ordered.num_rows, SHARD_ROWS)]


def _save_shard(folder: Path, table: Any) -> Shard:
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", store_schema=True)
    content = sink.getvalue().to_pybytes()
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / "rows" / f"{sha256}.parquet"
    if not path.exists():
        _write(path, content)
    return Shard(path=f"rows/{sha256}.parquet", sha256=sha256, rows=table.num_rows)


def _save_tree(folder: Path, tree: LabelTree) -> str:
    path = folder / "labels" / f"{tree.digest}.json"
    if not path.exists():
        _write(path, json.dumps(list(tree.leaves), ensure_ascii=False, indent=0).encode())
    return tree.digest


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: DVC may have linked the old file to its cache, which must never be written through."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
        stream.write(content)
    Path(stream.name).chmod(0o644)
    Path(stream.name).replace(path)
