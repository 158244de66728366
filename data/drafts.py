"""From the cells of a table to typed rows: mapped, de-identified, validated; every reason why not is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from data import columns, privacy
from data import mapping as mappings
from hotline import dialects, digests, labels
from hotline.audio import Audio
from hotline.task import Row, Span, Task

ID_CHARACTERS = 16
_SHOWN_CHARACTERS = 60
_KEPT_AS_THEY_ARE = {"site", "source", "language", "dialect", "convention", "label_source", "label_batch"}
"""Provenance that describes the delivery, not the caller."""


@dataclass
class Draft:
    """One row of a file on its way in; `number` is 1-based, without the header. With `reasons` it is quarantined."""

    file: str
    number: int
    cells: Mapping[str, str]
    id: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    split: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    """Stored values by column name, once the row is typed."""
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """Of its sound."""

    def release(self) -> None:
        """Forget what is in the table or in quarantine by now; id, file, reasons and length stay."""
        self.cells, self.values = {}, {}
        self.input, self.target, self.provenance = {}, {}, {}


@dataclass(frozen=True)
class Sound:
    """The clip of a row, the recording it is from, or why there is none."""

    recording: str
    audio: Audio | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drafter:
    """What it takes to make drafts of one import: `key` for surrogates and keyed hashes, `defaults` of provenance."""

    task: Task
    mapping: mappings.Mapping
    key: bytes
    defaults: Mapping[str, str]
    counted: Counter[str] = field(default_factory=Counter)
    """How often a content was met, for rows without an id of their own."""

    def drafts(self, file: str, rows: Iterable[Mapping[str, str]]) -> list[Draft]:
        """One draft per row, typed where that is possible."""
        return [self.draft(file, number, cells) for number, cells in enumerate(rows, start=1)]

    def draft(self, file: str, number: int, cells: Mapping[str, str], sound: Sound | None = None) -> Draft:
        """The draft of one row, about `sound` where the task is; it keeps the digest of the sound, not the sound."""
        draft = Draft(file, number, cells)
        draft.provenance = {"source": file, "label_batch": file, **self.defaults, **self.mapping.constants}
        for name, sources in self.mapping.columns.items():
            if name != f"input.{self.task.audio_field}":
                self._fill(draft, name, [self._meant(draft, source, cells[source]) for source in sources])
        spans = self._deidentify(draft)
        if sound:
            self._hear(draft, sound)
        self._identify(draft)
        if not draft.reasons:
            self._type(draft, spans, sound.audio if sound else None)
        return draft

    def _meant(self, draft: Draft, column: str, cell: str) -> str:
        """What the cell stands for."""
        known = self.mapping.values.get(column)
        if known is not None and cell not in known:
            draft.reasons.append(f"{column}: found {_shown(cell)}, expected one of {', '.join(known)}")
        return cell if known is None else known.get(cell, "")

    def _hear(self, draft: Draft, sound: Sound) -> None:
        """What a clip says about its row: its digest, its call, and the language of its dialect."""
        draft.reasons += sound.reasons
        if sound.audio:
            draft.seconds = sound.audio.seconds
            draft.input[str(self.task.audio_field)] = sound.audio.digest
        if sound.recording:
            draft.provenance.setdefault("call_id", sound.recording)
            draft.provenance.setdefault("caller_id", f"call {draft.provenance['call_id']}")
        if language := dialects.language(draft.provenance.get("dialect", dialects.UNKNOWN)):
            draft.provenance.setdefault("language", language)

    def _fill(self, draft: Draft, name: str, cells: list[str]) -> None:
        part, _, field_name = name.partition(".")
        is_label = part == "target" and field_name == self.task.label_field
        value = labels.join(cells) if is_label else "\n".join(cell for cell in cells if cell)
        if part == "id":
            draft.id = value
            if not value:
                draft.reasons.append(f"id: found an empty cell in {'+'.join(self.mapping.columns['id'])}")
        elif part == "split":
            draft.split = value or None
            if value and value not in columns.SPLITS:
                draft.reasons.append(f"split: found {_shown(value)}, expected one of {', '.join(columns.SPLITS)}")
        elif value and name in self._json_columns:
            self._fill_json(draft, part, field_name, value)
        elif value or self._needed(part, field_name):
            getattr(draft, part)[field_name] = value

    @cached_property
    def _columns(self) -> tuple[columns.Column, ...]:
        return columns.of_task(self.task)

    @cached_property
    def _json_columns(self) -> frozenset[str]:
        return frozenset(column.name for column in self._columns if column.is_json)

    def _fill_json(self, draft: Draft, part: str, name: str, cell: str) -> None:
        try:
            getattr(draft, part)[name] = json.loads(cell)
        except json.JSONDecodeError:
            draft.reasons.append(f"{part}.{name}: found {_shown(cell)}, expected JSON")

    def _needed(self, part: str, name: str) -> bool:
        kind = {"input": self.task.input, "target": self.task.target}.get(part)
        return kind is not None and kind.model_fields[name].is_required()

    def _deidentify(self, draft: Draft) -> list[Span]:
        """Surrogates into the input, keyed hashes for what names a person; the spans of the surrogates."""
        spans: list[Span] = []
        for name, value in draft.input.items():
            draft.input[name], found = privacy.replace(value, privacy.RECOGNISERS, self.key, field=name)
            spans += found
        for name, value in draft.target.items():
            if isinstance(value, str) and privacy.find_all(value):
                draft.reasons.append(f"target.{name}: found personal data, {_shown(value)}, expected none in a target")
        for name, value in draft.provenance.items():
            if name not in _KEPT_AS_THEY_ARE | {"caller_id", "call_id", "confidence"}:
                draft.provenance[name] = privacy.replace(value, privacy.RECOGNISERS, self.key)[0]
        return spans

    def _identify(self, draft: Draft) -> None:
        """The row's id, its call and its caller; the caller always as a keyed hash."""
        if not draft.id:
            content = [draft.provenance["site"], draft.provenance["source"], draft.input]
            digest = digests.of_value(content)
            draft.id = digests.of_value([*content, self.counted[digest]])[:ID_CHARACTERS]
            self.counted[digest] += 1
        draft.id = self._unnamed(draft.id)
        draft.provenance["call_id"] = self._unnamed(draft.provenance.get("call_id") or draft.id)
        caller = draft.provenance.get("caller_id") or f"row {draft.id}"
        draft.provenance["caller_id"] = privacy.keyed_hash(caller, "caller", self.key)

    def _unnamed(self, number: str) -> str:
        return privacy.keyed_hash(number, "call", self.key) if privacy.find_all(number) else number

    def _type(self, draft: Draft, spans: list[Span], audio: Audio | None) -> None:
        draft.provenance["personal"] = spans
        said = {**draft.input, str(self.task.audio_field): audio} if audio else draft.input
        try:
            row: Row = self.task.row(draft.id, said, draft.target, draft.provenance)
        except ValidationError as error:
            part = {self.task.input.__name__: "input", self.task.target.__name__: "target"}.get(error.title)
            draft.reasons += reasons(error, part or error.title.lower())
            return
        draft.values = columns.flatten(row, self._columns)


def reasons(error: ValidationError, part: str) -> list[str]:
    """Every problem as field, found, expected; personal data masked."""
    return [
        f"{'.'.join([part, *map(str, item['loc'])])}: found {_shown(item['input'])}, expected {_expected(item['msg'])}"
        for item in error.errors(include_url=False)
    ]


def _expected(message: str) -> str:
    for words in ("Value error, ", "Input ", "String ", "should have ", "should be "):
        message = message.removeprefix(words)
    return message


def _shown(value: Any) -> str:
    text = privacy.mask(str(value))
    if len(text) <= _SHOWN_CHARACTERS:
        return repr(text)
    return f"{text[:_SHOWN_CHARACTERS]!r}… ({len(text)} characters)"
