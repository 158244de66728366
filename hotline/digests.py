"""Digests: canonical JSON, files, and folders as a Merkle root. All are lower-case SHA-256 hex."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """One spelling per value: sorted keys, no blanks, UTF-8 kept, no NaN (as RFC 8785 where it matters to us)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def of_value(value: Any) -> str:
    return of_text(canonical_json(value))


def of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def of_files(folder: Path) -> dict[str, str]:
    """Every file under `folder`: its path with forward slashes, and its digest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): of_file(path) for path in paths}


def merkle_root(files: Mapping[str, str]) -> str:
    """One digest for a set of named files, independent of their order."""
    return of_value(dict(files))


def of_set(digests: Iterable[str]) -> str:
    """One digest for a multiset of digests, independent of order and of how it is cut into shards."""
    whole = hashlib.sha256()
    for digest in sorted(digests):
        whole.update(bytes.fromhex(digest))
    return whole.hexdigest()


def of_code(root: Path, packages: Iterable[str]) -> str:
    """One digest for the Python and YAML sources of these packages under `root`."""
    folders = [root / package for package in packages]
    sources = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".yaml"})
    return merkle_root({path.relative_to(root).as_posix(): of_file(path) for path in sources})
