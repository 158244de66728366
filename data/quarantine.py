"""Rows that were not let in: a JSON line each, with every reason, personal data masked. Nothing is lost silently."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data import mapping as mappings
from data import privacy
from data.drafts import Draft
from hotline.errors import ContractError
from hotline.task import Task

COMMONEST = 3


def write(path: Path, drafts: Sequence[Draft], mapping: mappings.Mapping, key: bytes) -> Path | None:
    """The file with these rows, or None when there are none; an older file of the same import goes."""
    if not drafts:
        path.unlink(missing_ok=True)
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for draft in drafts:
            line = {
                "file": draft.file,
                "row": draft.number,
                "reasons": draft.reasons,
                "cells": _masked(draft.cells, mapping, key),
            }
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def _masked(cells: Mapping[str, str], mapping: mappings.Mapping, key: bytes) -> dict[str, str]:
    callers = mapping.columns.get("provenance.caller_id", ())
    return {
        name: privacy.keyed_hash(cell, "caller", key) if name in callers and cell else privacy.mask(cell)
        for name, cell in cells.items()
    }


def kinds(drafts: Sequence[Draft]) -> dict[str, int]:
    """Rows by reason, commonest first; what was found is left out, so that like reasons count together."""
    counts = Counter(kind for draft in drafts for kind in {_kind(reason) for reason in draft.reasons})
    return dict(counts.most_common())


def _kind(reason: str) -> str:
    field, _, rest = reason.partition(": ")
    if ", expected " in rest:
        return f"{field}: expected {rest.rsplit(', expected ', 1)[1]}"
    return f"{field}: {rest.split(' (', 1)[0]}"


def refuse_too_many(task: Task, mapping: mappings.Mapping, rows_in: int, drafts: Sequence[Draft], path: Path) -> None:
    """Raises ContractError when more than the mapping's share of the rows is quarantined, or all of them."""
    share = len(drafts) / rows_in
    if share <= mapping.max_quarantined and len(drafts) < rows_in:
        return
    common = [f"{count} rows: {kind}" for kind, count in list(kinds(drafts).items())[:COMMONEST]]
    raise ContractError(
        f"{len(drafts)} of {rows_in} rows would be quarantined; nothing was stored",
        where=str(path),
        found=f"{share:.1%}; " + "; ".join(common),
        expected=f"at most {mapping.max_quarantined:.1%} (max_quarantined in {mapping.path})",
        next=f"read {path}, correct the table or the mapping, then hotline import {task.name} again",
    )
