"""Transcripts as they are delivered with recordings, as rows of cells: tables, file names, Kaldi, WeNet and FunASR.

Kaldi: wav.scp, text, and where they are there segments, utt2spk, utt2lang, reco2file_and_channel. WeNet: data.list,
lines of JSON (key, wav, txt). FunASR: lines of JSON (key, source, target).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data import mapping as mappings
from data.recordings import Delivery, is_recording
from data.speech_mapping import NAME_COLUMNS, Format, Recordings
from data.tables import SUFFIXES, decode, table_of
from hotline.errors import InputError

Cells = dict[str, str]
NAMED, LISTED = "wav.scp", "data.list"
SHIPPED = Path(__file__).parent / "mappings"
_KALDI_COLUMNS = ("id", "text", "recording", "file", "start", "end", "speaker", "language", "channel")


@dataclass(frozen=True)
class Transcripts:
    """`rows` as they were read from `table`, a file of the delivery."""

    format: Format
    table: str
    rows: list[Cells]


def read(delivery: Delivery, sound: Delivery, mapping: mappings.Mapping) -> Transcripts:
    """The transcripts of a delivery whose recordings lie in `sound`. Raises InputError when there are none."""
    plan = mapping.recordings
    format = plan.format if plan.format != "auto" else detect(delivery, plan)
    if format == "names":
        return Transcripts(format, "", list(_names(sound, plan)))
    table = plan.table or _only(delivery, format)
    if table not in delivery.sizes:
        raise _none(delivery, format, table)
    if format == "kaldi":
        rows = _kaldi(delivery, table)
    elif format in ("wenet", "funasr"):
        rows = list(_json_lines(delivery, table))
    else:
        rows = _table(delivery, table, mapping)
    return Transcripts(format, table, rows)


def detect(delivery: Delivery, plan: Recordings) -> Format:
    """What the transcripts come as. Raises InputError when nothing says so."""
    names = {PurePosixPath(name).name for name in delivery.sizes}
    if plan.table is None and NAMED in names:
        return "kaldi"
    if plan.table is None and LISTED in names:
        return "wenet"
    tables = [plan.table] if plan.table else _tables(delivery)
    if len(tables) == 1 and tables[0].endswith(".jsonl") and tables[0] in delivery.sizes:
        first = next(_json_lines(delivery, tables[0]), {})
        if {"source", "target"} <= first.keys():
            return "funasr"
    if tables and (plan.names is None or plan.table):
        return "table"
    if plan.names is not None:
        return "names"
    raise _none(delivery, "auto", None)


def usual_mapping(paths: Sequence[Path], format: Format) -> mappings.Mapping:
    """The mapping that ships for that format, or for what the first delivery holds. Raises InputError without one."""
    from data.recordings import open_delivery

    found = detect(open_delivery(paths[0]), Recordings()) if format == "auto" and paths else format
    path = SHIPPED / f"{found}.yaml"
    if not path.exists():
        raise InputError(
            "which column, or which part of a file's name, is what?",
            where=", ".join(map(str, paths)),
            expected="--mapping FILE.yaml",
            next="see data/mappings/calls.yaml and data/mappings/fsdd.yaml for examples",
        )
    return mappings.load(path)


def _tables(delivery: Delivery) -> list[str]:
    return [name for name in delivery.sizes if name.lower().removesuffix(".gz").endswith(SUFFIXES)]


def _only(delivery: Delivery, format: Format) -> str:
    """The one file that can hold transcripts in that format."""
    wanted = {"kaldi": NAMED, "wenet": LISTED}.get(format)
    found = [name for name in delivery.sizes if PurePosixPath(name).name == wanted] if wanted else _tables(delivery)
    if format == "funasr":
        found = [name for name in found if name.endswith(".jsonl")]
    if len(found) != 1:
        raise _none(delivery, format, ", ".join(found) or None)
    return found[0]


def _none(delivery: Delivery, format: Format, found: str | None) -> InputError:
    return InputError(
        "no transcripts" if format == "auto" else f"not one file of transcripts as {format}",
        where=delivery.name,
        found=found or f"{len(delivery.sizes)} files, among them " + ", ".join(list(delivery.sizes)[:3]),
        expected="a table, wav.scp, data.list or lines of JSON; `recordings: {table: FILE}` names one of several, "
        "`recordings: {names: REGEX}` reads file names",
        next="--mapping FILE.yaml; see data/mappings for examples",
    )


def from_name(path: str, plan: Recordings) -> tuple[Cells, bool]:
    """What a recording's path says, and whether its name is as it should be."""
    pure = PurePosixPath(path)
    cells = dict(zip(NAME_COLUMNS, (path, pure.stem, pure.parent.name), strict=True))
    if plan.names is None:
        return cells, True
    match = re.fullmatch(plan.names, pure.stem)
    groups = match.groupdict() if match else {}
    return {**cells, **{name: value or "" for name, value in groups.items()}}, match is not None


def _names(sound: Delivery, plan: Recordings) -> Iterator[Cells]:
    for path in sound.sizes:
        if is_recording(path):
            yield from_name(path, plan)[0]


def _table(delivery: Delivery, file: str, mapping: mappings.Mapping) -> list[Cells]:
    table = table_of(Path(file), delivery.read(file), mapping.required_columns())
    names = list(table.columns)
    return [dict(zip(names, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def _json_lines(delivery: Delivery, file: str) -> Iterator[Cells]:
    for number, line in enumerate(decode(Path(file), delivery.read(file)).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError("a line is not JSON", where=f"{file}, line {number}", found=error) from error
        if not isinstance(row, dict):
            raise InputError("a line is not an object", where=f"{file}, line {number}", found=type(row).__name__)
        yield {name: "" if value is None else str(value).strip() for name, value in row.items()}


def _kaldi(delivery: Delivery, scp: str) -> list[Cells]:
    """One row per line of `text`; its recording is that of `segments`, or the one of the same name."""

    def lines(name: str) -> list[tuple[str, str]]:
        path = str(PurePosixPath(scp).parent / name)
        if path not in delivery.sizes:
            return []
        pairs = (line.split(maxsplit=1) for line in decode(Path(path), delivery.read(path)).splitlines())
        return [(pair[0], pair[1].strip() if len(pair) > 1 else "") for pair in pairs if pair]

    texts = lines("text")
    if not texts:
        raise InputError(
            "wav.scp without text", where=delivery.name, expected="a file `text` beside it", next="check the delivery"
        )
    recordings, segments = dict(lines(NAMED)), {key: rest.split() for key, rest in lines("segments")}
    speakers, languages = dict(lines("utt2spk")), dict(lines("utt2lang"))
    channels = {key: rest.split()[-1] for key, rest in lines("reco2file_and_channel") if rest}
    rows = []
    for key, text in texts:
        recording, start, end = (*segments[key], "", "", "")[:3] if key in segments else (key, "", "")
        cells = (key, text, recording, recordings.get(recording, ""), start, end)
        more = (speakers.get(key, ""), languages.get(key, ""), channels.get(recording, ""))
        rows.append(dict(zip(_KALDI_COLUMNS, (*cells, *more), strict=True)))
    return rows
