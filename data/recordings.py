"""A delivery of recordings: a folder or a zip of files, read one by one and never unpacked."""

from __future__ import annotations

import zipfile
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from data.tables import decode
from hotline import digests
from hotline.audio_kinds import AUDIO_SUFFIXES, OTHER_SUFFIXES
from hotline.errors import InputError, TooLarge

_UTF8_NAME, _ENCRYPTED = 0x800, 0x1
_IGNORED = ("__MACOSX",)
MAX_BYTES = 4 << 30
"""A larger file is no recording of a call, and is not read."""


class Delivery(Protocol):
    """Files by their path from the delivery's root, with forward slashes."""

    @property
    def name(self) -> str: ...
    @property
    def sizes(self) -> Mapping[str, int]: ...

    def read(self, file: str) -> bytes:
        """The content. Raises InputError when it cannot be read."""


def _is_junk(path: PurePosixPath) -> bool:
    return any(part.startswith(".") or part in _IGNORED for part in path.parts)


@dataclass(frozen=True)
class Folder:
    path: Path

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        found = {path.relative_to(self.path).as_posix(): path for path in self.path.rglob("*") if path.is_file()}
        return {name: found[name].stat().st_size for name in sorted(found) if not _is_junk(PurePosixPath(name))}

    def read(self, file: str) -> bytes:
        _refuse_too_large(file, self.sizes[file])
        try:
            return (self.path / file).read_bytes()
        except OSError as error:
            raise InputError(
                "the file cannot be read", where=file, found=error.strerror, next="check its permissions"
            ) from error


@dataclass(frozen=True)
class Zip:
    path: Path
    _archive: zipfile.ZipFile = field(repr=False)

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        found = {_member_name(self.path, member): member for member in self._archive.infolist() if not member.is_dir()}
        return {name: found[name] for name in sorted(found) if not _is_junk(PurePosixPath(name))}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        return {name: member.file_size for name, member in self._members.items()}

    def read(self, file: str) -> bytes:
        member = self._members[file]
        if member.flag_bits & _ENCRYPTED:
            raise InputError("the file is encrypted in the archive", where=file, next="send it without a password")
        _refuse_too_large(file, member.file_size)
        try:
            return self._archive.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise InputError(
                "the archive is damaged at this file", where=file, found=error, next="fetch it again"
            ) from error


def _refuse_too_large(file: str, size: int) -> None:
    if size > MAX_BYTES:
        raise TooLarge("the file is too large", where=file, found=f"{size:,} bytes", expected=f"at most {MAX_BYTES:,}")


def _member_name(path: Path, member: zipfile.ZipInfo) -> str:
    """Archives of Chinese systems often have GBK names, which zipfile takes for code page 437."""
    if member.flag_bits & _UTF8_NAME or member.filename.isascii():
        return member.filename
    return decode(path, member.filename.encode("cp437"))


def open_delivery(path: Path) -> Delivery:
    """The folder or zip at `path`. Raises InputError for anything else."""
    if path.is_dir():
        return Folder(path)
    try:
        return Zip(path, zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(
            "neither a folder nor a zip of recordings",
            where=str(path),
            found=getattr(error, "strerror", None) or error,
            expected="a folder, or a .zip that is whole",
            next="check the path",
        ) from error


def listing_digest(delivery: Delivery) -> str:
    """Of names and sizes: the same delivery is known again without reading all of it."""
    return digests.of_value(dict(delivery.sizes))


class Finder:
    """Which file a cell of a table means: by path from the table or the root, else by its unique name or stem."""

    def __init__(self, delivery: Delivery) -> None:
        self.paths = delivery.sizes
        self.clips = [name for name in self.paths if is_recording(name)]
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.clips:
            pure = PurePosixPath(path)
            for name in {pure.name, pure.stem}:
                self._by_name[name].append(path)

    def find(self, cell: str, beside: str = "") -> str | None:
        """The path of the file; None when there is none of that name, or more than one."""
        wanted = cell.replace("\\", "/")
        for path in (str(PurePosixPath(beside).parent / wanted), str(PurePosixPath(wanted))):
            if path in self.paths:
                return path
        named = self._by_name.get(PurePosixPath(wanted).name, [])
        return named[0] if len(named) == 1 else None


def is_recording(name: str) -> bool:
    """Whether that is what a recording is called, in a format that can be decoded or in another one."""
    return PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES | OTHER_SUFFIXES
