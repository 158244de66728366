"""Tables that somebody sent: spreadsheets, CSV, TSV and JSON lines, each also gzipped, every cell as text."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from python_calamine import CalamineError, PasswordError, ZipError

from hotline import digests
from hotline.errors import InputError

SPREADSHEETS = {".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"}
DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*sorted(SPREADSHEETS), *DELIMITERS, ".jsonl")
OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
"""Compound files: old .xls, and .xlsx that is encrypted (MS-OFFCRYPTO)."""
MAX_CELL_CHARACTERS = 10_000_000
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_COMMON = "的一是不了在人有我這这個个們们來来到時时大地為为上中，。"
"""GB18030 and Big5 each decode most of the other's bytes; the right one gives the common characters."""


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Every row of the file as text, blanks at the ends of a cell dropped, an empty cell as "".

    Raises InputError when it cannot be read (absent, encrypted, corrupt, of an unknown kind or encoding) or lacks one
    of `columns`, whose message lists the columns it has.
    """
    return table_of(path, _bytes(path), columns)


def table_of(path: Path, content: bytes, columns: Sequence[str] = ()) -> pd.DataFrame:
    """As `read_table`, of the content of a file that is called `path`."""
    kind = _kind(path)
    content = _inflated(path, content)
    if kind in SPREADSHEETS:
        table = _spreadsheet(path, content)
    elif kind == ".jsonl":
        table = _json_lines(path, decode(path, content))
    else:
        table = _delimited(path, decode(path, content), DELIMITERS[kind])
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            "the table lacks a mapped column: " + ", ".join(missing),
            where=str(path),
            found=", ".join(map(str, table.columns)) or "no columns",
            expected=", ".join(columns),
            next="name the columns that there are, in the mapping or with --column",
        )
    twice = sorted({column for column in columns if list(table.columns).count(column) > 1})
    if twice:
        raise InputError(
            "two columns have one name", where=str(path), found=", ".join(twice), next="rename one of them"
        )
    return table


def file_digest(path: Path) -> str:
    """SHA-256 of the file as it was sent. Raises InputError when there is no such file."""
    try:
        return digests.of_file(path)
    except OSError as error:
        raise InputError(
            "the file cannot be read", where=str(path), found=error.strerror, next="check the path"
        ) from error


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    if not suffixes or suffixes[-1] not in SUFFIXES:
        raise InputError(
            "not a kind of table that can be imported",
            where=str(path),
            found="".join(path.suffixes) or "no suffix",
            expected=", ".join(SUFFIXES) + ", each also with .gz",
            next="save it as .xlsx or .csv",
        )
    return suffixes[-1]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            "the file cannot be read", where=str(path), found=error.strerror, next="check the path"
        ) from error


def _inflated(path: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError("the gzip file is corrupt", where=str(path), found=error, next="fetch it again") from error


def _spreadsheet(path: Path, content: bytes) -> pd.DataFrame:
    try:
        table: Any = pd.read_excel(
            io.BytesIO(content), engine="calamine", dtype=str, keep_default_na=False, na_filter=False
        )
    except PasswordError as error:
        raise _encrypted(path) from error
    except (CalamineError, ZipError, ValueError, OSError) as error:
        if content.startswith(OLE_MAGIC) and path.name.lower().removesuffix(".gz").endswith(".xlsx"):
            raise _encrypted(path) from error
        raise InputError(
            "the spreadsheet cannot be read", where=str(path), found=error, next="open it, save it again as .xlsx"
        ) from error
    return _clean(table)


def _encrypted(path: Path) -> InputError:
    return InputError(
        "the spreadsheet is encrypted",
        where=str(path),
        expected="a file without a password",
        next="open it with its password, save a copy without one, then hotline import again",
    )


def decode(path: Path, content: bytes) -> str:
    """The text of a file in UTF-8, UTF-16, GB18030 (which includes GBK) or Big5, with or without a byte order mark.

    Raises InputError for anything else: a guess that is wrong would be stored as if it were true.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            return _decoded(path, content, name)
    if text := _attempt(content, "utf-8"):
        return text
    chinese = [text for name in ("gb18030", "big5hkscs") if (text := _attempt(content, name))]
    if chinese:
        return max(chinese, key=lambda text: sum(map(text.count, _COMMON)))
    return _decoded(path, content, _guess(content))


def _attempt(content: bytes, name: str) -> str | None:
    """None when it does not decode, or decodes to NUL characters as UTF-16 without a mark does."""
    try:
        text = content.decode(name)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _guess(content: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(content[: 1 << 20], cp_isolation=["utf_16_le", "utf_16_be"]).best()
    return best.encoding if best else "utf-8"


def _decoded(path: Path, content: bytes, name: str) -> str:
    try:
        return content.decode(name)
    except UnicodeDecodeError as error:
        raise InputError(
            "the file's encoding is not known",
            where=str(path),
            found=error,
            expected="UTF-8, GB18030/GBK, Big5 or UTF-16",
            next="save it as UTF-8",
        ) from error


def _delimited(path: Path, text: str, delimiter: str) -> pd.DataFrame:
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        return _frame(header, _full_rows(path, header, reader))
    except csv.Error as error:
        raise InputError(
            "the table is broken",
            where=f"{path}, line {reader.line_num}",
            found=error,
            next="check the quotes around that line",
        ) from error


def _full_rows(path: Path, header: Sequence[str], rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Rows as wide as the header; empty lines at the end of files are no rows."""
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        if len(row) > len(header) and any(row[len(header) :]):
            raise InputError(
                "a row has more cells than the header",
                where=f"{path}, row {number}",
                found=len(row),
                expected=len(header),
                next="check the delimiter and the quotes of that row",
            )
        yield (row + [""] * len(header))[: len(header)]


def _json_lines(path: Path, text: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError("a line is not JSON", where=f"{path}, line {number}", found=error) from error
        if not isinstance(row, dict):
            raise InputError("a line is not an object", where=f"{path}, line {number}", found=type(row).__name__)
        rows.append({name: _cell(value) for name, value in row.items()})
    header = list(dict.fromkeys(name for row in rows for name in row))
    return _frame(header, ([row.get(name, "") for name in header] for row in rows))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _frame(header: Sequence[str], rows: Iterable[Sequence[str]]) -> pd.DataFrame:
    return _clean(pd.DataFrame(list(rows), columns=list(header), dtype=object))


def _clean(table: pd.DataFrame) -> pd.DataFrame:
    """Column names and cells without blanks, tabs and newlines at their ends; every cell a str."""
    table.columns = pd.Index([str(name).strip().lstrip("\ufeff") for name in table.columns])
    return table.apply(lambda cells: cells.map(lambda cell: str(cell).strip())) if len(table) else table
