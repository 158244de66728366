"""The table of rows: a task's typed parts as flat, dotted columns, and back. One column per declared field."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, cast, get_args, get_origin

import pyarrow as pa

from hotline import digests
from hotline.audio import Audio
from hotline.task import Part, Provenance, Row, Task

SPLITS = ("train", "validation", "test")
PLACES = ("cluster", "split")
"""Columns that the corpus adds to a row: where it belongs, not what it says."""
DELIVERY = ("provenance.source", "provenance.label_batch")
"""Which delivery brought the row; the same row delivered again has not changed."""
_SCALARS: Mapping[Any, Any] = {
    str: pa.string(),
    Audio: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}
_DIGESTED_ROWS = 4_096
"""At a time, so that a corpus is never in memory as Python values."""
P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Column:
    """One declared field: text, numbers and truth values as they are, sound as its digest, the rest as JSON."""

    part: Literal["input", "target", "provenance"]
    field: str
    kind: Any

    @cached_property
    def name(self) -> str:
        """One string for all rows: they are keyed by it."""
        return f"{self.part}.{self.field}"

    @property
    def is_json(self) -> bool:
        return self.kind is None

    def encode(self, part: Part) -> Any:
        """The stored value of this field of `part`."""
        value = getattr(part, self.field)
        if isinstance(value, Audio):
            return value.digest
        if not self.is_json:
            return value
        return digests.canonical_json(part.model_dump(mode="json", include={self.field})[self.field])


@dataclass(frozen=True)
class Provided(Column):
    """A target field that is a column of provenance."""

    of: str

    @cached_property
    def name(self) -> str:
        return f"provenance.{self.of}"


def _scalar(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        options = [option for option in get_args(annotation) if option is not NoneType]
        annotation = options[0] if len(options) == 1 else None
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal and all(isinstance(value, str) for value in get_args(annotation)):
        annotation = str
    return _SCALARS.get(annotation)


def of_task(task: Task) -> tuple[Column, ...]:
    """Every stored column of the task's rows but `id` and PLACES, in the order of the declaration.

    Target fields that are a column of provenance are not stored a second time.
    """
    parts: tuple[tuple[Literal["input", "target", "provenance"], type[Part]], ...]
    parts = (("input", task.input), ("target", task.target), ("provenance", Provenance))
    return tuple(
        Column(part, name, _scalar(info.annotation))
        for part, kind in parts
        for name, info in kind.model_fields.items()
        if part != "target" or name not in task.provenance_fields
    )


def schema(task: Task) -> Any:
    """The Arrow schema of a shard."""
    declared = [(column.name, pa.string() if column.is_json else column.kind) for column in of_task(task)]
    return pa.schema([("id", pa.string()), *declared, *((name, pa.string()) for name in PLACES)])


def flatten(row: Row, columns: Sequence[Column]) -> dict[str, Any]:
    """A typed row as stored values by column name, PLACES left out."""
    values = {"id": row.id}
    for column in columns:
        values[column.name] = column.encode(cast(Part, getattr(row, column.part)))
    return values


class Sounds(Protocol):
    """Stored sound by its digest."""

    def __getitem__(self, digest: str) -> Audio: ...


def parts(
    kind: type[P],
    columns: Sequence[Column],
    table: Any,
    also: Mapping[str, str] | None = None,
    sounds: Sounds | None = None,
) -> list[P]:
    """The typed part of every row of an Arrow table whose digest was checked; text fields are not validated again.

    `also` names further fields and the provenance columns that they are; `sounds` has what digests of sound stand for.
    """
    columns = [*columns, *(Provided("target", name, pa.string(), of=source) for name, source in (also or {}).items())]
    stored = [table.column(column.name).to_pylist() for column in columns]
    for number, column in enumerate(columns):
        if sounds is not None and kind.model_fields[column.field].annotation is Audio:
            stored[number] = [sounds[digest] for digest in stored[number]]
    names = [column.field for column in columns]
    if not any(column.is_json for column in columns):
        made = [kind.model_construct(set(names), **dict(zip(names, row, strict=True))) for row in zip(*stored)]  # noqa: B905
        return cast(list[P], made)
    decoded = [
        [json.loads(value) for value in values] if column.is_json else values
        for column, values in zip(columns, stored, strict=True)
    ]
    return [kind.model_validate(dict(zip(names, row, strict=True))) for row in zip(*decoded)]  # noqa: B905


def row_digests(table: Any) -> list[str]:
    """One digest per row over everything it says and where it belongs, columns by name."""
    names = sorted(table.column_names)
    found: list[str] = []
    for batch in table.select(names).to_batches(max_chunksize=_DIGESTED_ROWS):
        stored = [column.to_pylist() for column in batch.columns]
        found += [digests.of_value(row) for row in zip(*stored, strict=True)]
    return found


def content_digest(values: Mapping[str, Any]) -> str:
    """What a row says, without its places and without the delivery that brought it."""
    return digests.of_value({name: value for name, value in values.items() if name not in (*PLACES, *DELIVERY)})
