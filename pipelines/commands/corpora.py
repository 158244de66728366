"""import, data versions, data diff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json

data_app = typer.Typer(help="The versions of a corpus and what changed between them.", no_args_is_help=True)

Task = Annotated[str, typer.Argument(help="A task: `hotline tasks` lists them.")]


def add_to(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    task: Task,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Tables: xlsx, xls, ods, csv, tsv, jsonl; each also .gz")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="Which column is what (YAML).")] = None,
    json: Json = False,
) -> None:
    """Import tables of rows: map, de-identify, check, split, and store a new snapshot."""
    from data.ingest import import_table
    from data.mapping import load as load_mapping
    from hotline import settings, tasks
    from hotline.errors import InputError

    declared, here = tasks.find(task), settings.load()
    if mapping is None:
        raise InputError(
            "which column is what?",
            expected="--mapping FILE.yaml",
            next="see data/mappings for examples and docs/guide.md",
        )
    report = import_table(here, declared, load_mapping(mapping), files or [], progress=output.stage)
    if json:
        output.as_json(report.as_dict())
    else:
        output.note(str(report))


@data_app.command()
def versions(task: Task, json: Json = False) -> None:
    """The snapshots of a task's corpus, newest first."""
    from data import store
    from hotline import settings, tasks

    declared, here = tasks.find(task), settings.load()
    found, head = store.versions(here, declared), store.head(here, declared)
    if json:
        output.as_json([{**manifest.model_dump(mode="json"), "current": manifest.digest == head} for manifest in found])
        return
    splits = ("train", "validation", "test")
    rows = [
        (
            "→" if m.digest == head else "",
            m.digest[:12],
            m.created,
            m.rows,
            *(m.splits.get(split, 0) for split in splits),
        )
        for m in found
    ]
    output.table(f"{task}: snapshots", ("", "digest", "made", "rows", *splits), rows)


@data_app.command()
def diff(
    task: Task,
    a: Annotated[str, typer.Argument(help="Snapshot digest, or its beginning.")],
    b: Annotated[str, typer.Argument(help="The later snapshot.")],
    json: Json = False,
) -> None:
    """What changed between two snapshots."""
    from data import store
    from hotline import settings, tasks

    difference = store.diff(settings.load(), tasks.find(task), a, b)
    if json:
        output.as_json(difference.as_dict())
    else:
        output.note(str(difference))
