"""What a snapshot says about itself, and the files of a corpus, each read with its digest checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from hotline import digests
from hotline.errors import ContractError, IntegrityError
from hotline.labels import LabelTree
from hotline.settings import Settings
from hotline.task import Task


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shard(_Frozen):
    path: str
    sha256: str
    rows: int


class AudioShard(_Frozen):
    """Raw PCM and its index; see data/audio_shards.py."""

    path: str
    sha256: str
    bytes: int
    clips: int
    index: str
    index_sha256: str


class ImportSummary(_Frozen):
    """One file of one import: rows in = kept + quarantined."""

    file: str
    sha256: str
    batch: str
    rows_in: int
    kept: int
    quarantined: int


class Manifest(_Frozen):
    """One version of a corpus; `created` (UTC) and `imports` are not part of its digest."""

    schema_version: Literal[1] = 1
    digest: str
    task: str
    site: str
    created: str
    parent: str | None
    rows: int
    splits: dict[str, int]
    tree: str | None
    contract: str
    shards: tuple[Shard, ...]
    audio: tuple[AudioShard, ...] = ()
    fractions: dict[str, float]
    imports: tuple[ImportSummary, ...]


def corpus_folder(settings: Settings, task: Task) -> Path:
    return settings.corpora / task.corpus_name


def contract_digest(task: Task) -> str:
    """Of what a row may be; scores and bars are not part of it."""
    declaration = task.declaration()
    return digests.of_value({name: declaration[name] for name in ("task", "input", "target")})


def broken(what: str, path: Path, found: str, expected: str) -> IntegrityError:
    return IntegrityError(what, where=str(path), found=found, expected=expected, next="dvc checkout, or `dvc pull`")


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(
            "a file of the corpus cannot be read", where=str(path), found=error.strerror, next="dvc pull"
        ) from error


def read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(read(path))
    except ValueError as error:
        raise IntegrityError("not a snapshot manifest", where=str(path), found=error, next="dvc checkout") from error


def read_shard(path: Path, shard: Shard, schema: Any) -> Any:
    content = read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != shard.sha256:
        raise broken("a shard's bytes differ from the manifest", path, found, shard.sha256)
    table = pq.read_table(pa.BufferReader(content))
    if not table.schema.equals(schema):
        raise ContractError(
            "the task's columns are not those of the stored rows",
            where=str(path),
            found=", ".join(table.column_names),
            expected=", ".join(schema.names),
            next=f"move {path.parent.parent} away and import again",
        )
    return table


def read_tree(folder: Path, digest: str) -> LabelTree:
    path = folder / "labels" / f"{digest}.json"
    tree = LabelTree.of(json.loads(read(path)))
    if tree.digest != digest:
        raise broken("the label tree differs from its digest", path, tree.digest, digest)
    return tree
