"""A registered embedder over the entries of the corpus's label tree as it is now: a version of its own, not trained."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from data.store import open_snapshot
from hotline import families, registry
from hotline.conversions import Conversion
from hotline.errors import InputError
from hotline.families import graphs
from hotline.labels import LabelTree
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.task import Task
from training import track


def renew(settings: Settings, task: Task, address: ModelAddress) -> tuple[ModelAddress, int, int]:
    """The version's weights over the current snapshot's tree, registered as the line's next version; and how many
    entries are new and gone.

    Done again, the same version is given back. Raises InputError for a family that knows no entries apart from its
    weights, for a converted version, and for a version that has these entries already.
    """
    client = registry.connect(settings.tracking_uri)
    source = registry.fetch(client, address, settings.verified)
    lineage = Lineage.model_validate_json((source / LINEAGE_FILE).read_text(encoding="utf-8"))
    answered = families.by(task, lineage.family)
    family: Any = families.find(answered.family)
    name = f"{address.line}@{address.version}"
    if not hasattr(family, "with_entries"):
        raise InputError(f"{name} has no entries apart from its weights", expected="a version of an embedder")
    if graphs.GRAPH_FILE in address.files:
        raise InputError(f"{name} is a graph, which holds its entries", next="name the version it came from")
    model, tree = family.load(source, answered), open_snapshot(settings, task).tree
    new, gone = _apart(model.tree, tree)
    if not new and not gone:
        raise InputError(
            f"{name} has the entries of the current snapshot already", next=f"hotline import {task.corpus_name}"
        )
    made = lineage.model_copy(
        update={"converted": Conversion(source=address.digest, name=name, to="entries", exporter={})}
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        family.save(family.with_entries(model, tree), folder)
        (folder / LINEAGE_FILE).write_text(made.model_dump_json(indent=1), encoding="utf-8")
        tags = track.version_tags(made)
        return registry.register(client, address.line, address.run_id, folder, tags), new, gone


def _apart(old: LabelTree, tree: LabelTree) -> tuple[int, int]:
    """How many leaves only the new tree has, and only the old one."""
    return len(set(tree.leaves) - set(old.leaves)), len(set(old.leaves) - set(tree.leaves))
