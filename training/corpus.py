"""The rows that a recipe learns from, and those it is checked on."""

from __future__ import annotations

from data.store import Rows, Snapshot, open_snapshot
from hotline.errors import ContractError
from hotline.labels import LabelTree
from hotline.settings import Settings
from hotline.task import Task
from training.recipe import Recipe


def rows_of(settings: Settings, recipe: Recipe, task: Task) -> tuple[Snapshot, Rows, Rows]:
    """The snapshot, its training rows and its validation rows.

    Raises UnknownName without a snapshot, ContractError when the recipe's filter leaves nothing to learn from.
    """
    snapshot = open_snapshot(settings, task, recipe.data.snapshot)
    return snapshot, _rows(snapshot, recipe, "train"), _rows(snapshot, recipe, "validation")


def tree_of(snapshot: Snapshot) -> LabelTree | None:
    """The snapshot's label tree, or None for tasks without one."""
    return snapshot.tree if snapshot.manifest.tree else None


def _rows(snapshot: Snapshot, recipe: Recipe, split: str) -> Rows:
    rows = snapshot.rows(split, recipe.data.where)
    if not len(rows):
        raise ContractError(
            f"the {split} split is empty",
            where=f"snapshot {snapshot.digest[:12]}, data.where = {recipe.data.where or '{}'}",
            expected="at least one row",
            next=f"hotline data versions {recipe.task}",
        )
    return rows
