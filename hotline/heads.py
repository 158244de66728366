"""The ledger's head, exported: a file that says which entry there was at least, so that a cut-off ledger is named.

A chain proves its order, not its length: entries cut off its end leave a valid chain. `ledger.head` lies beside
champions.lock, in git, where whoever can write into the ledger's database cannot reach it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hotline.errors import IntegrityError
from hotline.records import Digest

NEXT = "restore the ledger from a backup; nothing is decided or served on it"


class Head(BaseModel):
    """An entry of the ledger: its number and its hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int = Field(ge=1)
    hash: Digest


def read(path: Path) -> Head | None:
    """The exported head; None when nothing was exported yet. Raises IntegrityError for a file that says none."""
    try:
        return Head.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise IntegrityError(
            "the ledger's exported head cannot be read",
            where=str(path),
            found=error,
            next=f"git checkout {path.name}, then hotline verify",
        ) from error


def export(path: Path, seq: int, hash: str) -> None:
    """Write down the head, unless a newer one is there."""
    there = read(path)
    if seq < 1 or (there and there.seq >= seq):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
        stream.write(Head(seq=seq, hash=hash).model_dump_json() + "\n")
    Path(stream.name).chmod(0o644)
    Path(stream.name).replace(path)


def check(path: Path, hashes: Sequence[str]) -> None:
    """Raises IntegrityError unless the chain with those hashes, from its first entry on, has the exported one."""
    head = read(path)
    if head is None or head.hash in hashes[head.seq - 1 : head.seq]:
        return
    cut = head.seq > len(hashes)
    raise IntegrityError(
        f"ledger entry {head.seq}: "
        + ("the ledger was truncated, the entry is missing" if cut else "another entry stands in its place"),
        where=str(path),
        found=f"a ledger of {len(hashes)} entries" if cut else f"hash {hashes[head.seq - 1][:12]}",
        expected=f"entry {head.seq} with hash {head.hash[:12]}, which was there before",
        next=NEXT,
    )
