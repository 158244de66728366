"""What a verdict stands on, as digests, so that every part of it can be found again and an edit of it is noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version as library_version
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from evaluation.measure import slice_columns, slice_values
from hotline import digests
from hotline.families import adapters
from hotline.records import Digest, Figure, ModelAddress
from hotline.task import Task
from hotline.text import SCORED

if TYPE_CHECKING:
    from data.store import Rows

LIBRARIES = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "pydantic", "rapidfuzz")
ADAPTER_FILES = (adapters.CONFIG_FILE, adapters.WEIGHTS_FILE)


def libraries(*addresses: ModelAddress) -> dict[str, str]:
    """The versions that the scores depend on, and the digest of the text rules that transcripts are scored by."""
    from hotline.families.graphs import GRAPH_FILE  # imports torch

    converted = any(GRAPH_FILE in address.files for address in addresses)
    named = (*LIBRARIES, "onnxruntime") if converted else LIBRARIES
    return {name: library_version(name) for name in named} | {"text rules": SCORED.digest}


def splits(ids: Sequence[str], sides_of: Sequence[str]) -> dict[str, Digest]:
    """Of the ids on each side of a snapshot, given the side of each id."""
    sides: dict[str, list[str]] = {}
    for id, split in zip(ids, sides_of, strict=True):
        sides.setdefault(split, []).append(digests.of_text(id))
    return {split: digests.of_set(ids) for split, ids in sorted(sides.items())}


def adapter(address: ModelAddress) -> Digest | None:
    """Merkle root over the version's adapter files; None for whole weights."""
    files = {path: digest for path, digest in address.files.items() if PurePosixPath(path).name in ADAPTER_FILES}
    return digests.merkle_root(files) if files else None


def merge_report(address: ModelAddress) -> Digest | None:
    """Of the comparison of merged and unmerged weights; None where nothing was merged."""
    from hotline.families.merging import REPORT_FILE  # imports torch

    return next((digest for path, digest in address.files.items() if PurePosixPath(path).name == REPORT_FILE), None)


def known_values(
    task: Task, everything: Rows, shown: Sequence[Figure], retired: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Every value of every slice that the corpus has, or that the champion's own verdict has `shown`.

    A slice that vanished from the corpus is thereby missed; only a value that the policy retired is not.
    """
    values = {column: set(slice_values(task, column, everything)) for column in slice_columns(task)}
    for figure in shown:
        if figure.slice in values and figure.value is not None:
            values[figure.slice].add(figure.value)
    return {column: sorted(found - set(retired.get(column, ()))) for column, found in values.items()}
