"""Stored sound: append-only, content-addressed shards of raw 16-bit PCM, each with an index; and scratch for new ones.

    audio/<sha256>.pcm         int16 little-endian samples, clip after clip, about 256 MiB
    audio/<sha256>.parquet     digest, offset (bytes), samples, sample_rate_hz of every clip in it

A clip is named by its digest and stored once, whoever sends it again; labels change without touching it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.manifest import AudioShard, broken, read
from hotline.audio import Audio

SHARD_BYTES = 256 << 20
FOLDER = "audio"
_SCRATCH = ".part-"
_SAMPLE_BYTES = 2
_THREADS = 2
_INDEX = pa.schema(
    [("digest", pa.string()), ("offset", pa.int64()), ("samples", pa.int64()), ("sample_rate_hz", pa.int64())]
)


@dataclass(frozen=True)
class _Place:
    shard: int
    offset: int
    samples: int
    sample_rate_hz: int


@dataclass
class Sounds:
    """The clips of a snapshot by digest; their samples are read from disk when they are used."""

    paths: Sequence[Path]
    places: Mapping[str, _Place]
    _mapped: dict[int, Any] = field(default_factory=dict, repr=False)

    def __contains__(self, digest: object) -> bool:
        return digest in self.places

    def __getitem__(self, digest: str) -> Audio:
        place = self.places[digest]
        whole = self._shard(place.shard)
        start = place.offset // _SAMPLE_BYTES
        audio = Audio(whole[start : start + place.samples], place.sample_rate_hz)
        audio.__dict__["digest"] = digest  # the index says so, and was checked: the samples need not be read for it
        return audio

    def _shard(self, number: int) -> Any:
        if number not in self._mapped:
            self._mapped[number] = np.asarray(np.memmap(self.paths[number], dtype="<i2", mode="r"))
        return self._mapped[number]


def open_shards(folder: Path, shards: Sequence[AudioShard], every_byte: bool = True) -> Sounds:
    """The clips of these shards. Raises IntegrityError where an index, a length or (`every_byte`) a byte differs."""
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(lambda shard: _check(folder, shard, every_byte), shards))
    places: dict[str, _Place] = {}
    for number, shard in enumerate(shards):
        for clip in _index(folder, shard):
            places.setdefault(clip["digest"], _Place(number, clip["offset"], clip["samples"], clip["sample_rate_hz"]))
    return Sounds([folder / shard.path for shard in shards], places)


def _check(folder: Path, shard: AudioShard, every_byte: bool) -> None:
    path = folder / shard.path
    try:
        size = path.stat().st_size
        if size == shard.bytes and every_byte:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise broken("an audio shard cannot be read", path, str(error.strerror), f"{shard.bytes:,} bytes") from error
    if size != shard.bytes:
        raise broken("an audio shard has another length than the manifest says", path, f"{size:,}", f"{shard.bytes:,}")
    if every_byte and found != shard.sha256:
        raise broken("an audio shard's bytes differ from the manifest", path, found, shard.sha256)


def _index(folder: Path, shard: AudioShard) -> list[dict[str, Any]]:
    path = folder / shard.index
    content = read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != shard.index_sha256:
        raise broken("the index of an audio shard differs from the manifest", path, found, shard.index_sha256)
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(content)).to_pylist()
    return rows


@dataclass
class _Part:
    """A shard in the making."""

    path: Path
    stream: IO[bytes]
    clips: list[tuple[str, int, int, int]] = field(default_factory=list)
    hasher: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def add(self, digest: str, samples: Any, sample_rate_hz: int) -> None:
        content = np.ascontiguousarray(samples, dtype="<i2").data
        self.stream.write(content)
        self.hasher.update(content)
        self.clips.append((digest, self.size, len(samples), sample_rate_hz))
        self.size += content.nbytes


class Staging:
    """New clips of one import, beside the corpus until they are published; unpublished, nothing of them is left."""

    def __init__(self, folder: Path, stored: Collection[str] | Sounds = ()) -> None:
        self.folder, self.stored = folder / FOLDER, stored
        self.staged: set[str] = set()
        self.clips = self.bytes = 0
        """What was published."""
        self._parts: list[_Part] = []
        self._scratch: Path | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Staging:
        for left in self.folder.glob(f"{_SCRATCH}*"):  # of an import that was killed: one import runs at a time
            shutil.rmtree(left)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._parts:
            part.stream.close()
        if self._scratch:
            shutil.rmtree(self._scratch)
        for path in self._made if error else ():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def add(self, audio: Audio) -> None:
        """Keep the clip, if it is neither stored nor kept already."""
        if audio.digest in self.stored or audio.digest in self.staged:
            return
        self.staged.add(audio.digest)
        self._part().add(audio.digest, audio.samples, audio.sample_rate_hz)

    def _part(self, fresh: bool = False) -> _Part:
        if fresh or not self._parts or self._parts[-1].size >= SHARD_BYTES:
            if self._scratch is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=self.folder))
            path = self._scratch / f"{len(self._parts)}.pcm"
            self._parts.append(_Part(path, path.open("wb")))
        return self._parts[-1]

    def publish(self, wanted: Iterable[str]) -> tuple[AudioShard, ...]:
        """The shards of the new clips among `wanted`, in place; the sound of rows that were not kept is dropped."""
        keep = set(wanted)
        parts = [self._only(part, keep) for part in list(self._parts)]
        return tuple(self._publish(part) for part in parts if part.clips)

    def _only(self, part: _Part, keep: set[str]) -> _Part:
        """The part itself where all of it is kept, else a copy of what is."""
        part.stream.close()
        if all(digest in keep for digest, *_ in part.clips):
            return part
        other = self._part(fresh=True)
        with part.path.open("rb") as stream:
            for digest, offset, samples, rate in part.clips:
                if digest in keep:
                    stream.seek(offset)
                    content = stream.read(samples * _SAMPLE_BYTES)
                    other.add(digest, np.frombuffer(content, "<i2"), rate)
        other.stream.close()
        return other

    def _publish(self, part: _Part) -> AudioShard:
        sha256 = part.hasher.hexdigest()
        sink = pa.BufferOutputStream()
        columns = [pa.array(values, kind.type) for values, kind in zip(zip(*part.clips), _INDEX, strict=True)]  # noqa: B905
        pq.write_table(pa.table(columns, schema=_INDEX), sink, compression="zstd")
        index = sink.getvalue().to_pybytes()
        part.path.with_suffix(".parquet").write_bytes(index)
        for path in (part.path, part.path.with_suffix(".parquet")):
            self._move(path, self.folder / f"{sha256}{path.suffix}")
        self.clips += len(part.clips)
        self.bytes += part.size
        return AudioShard(
            path=f"{FOLDER}/{sha256}.pcm",
            sha256=sha256,
            bytes=part.size,
            clips=len(part.clips),
            index=f"{FOLDER}/{sha256}.parquet",
            index_sha256=hashlib.sha256(index).hexdigest(),
        )

    def _move(self, scratch: Path, path: Path) -> None:
        if not path.exists():
            self._made.append(path)
        scratch.chmod(0o644)
        os.replace(scratch, path)  # noqa: PTH105
