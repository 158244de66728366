"""import, data versions, data diff."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pipelines import output
from pipelines.output import Json

if TYPE_CHECKING:
    from data.speech_mapping import Format

data_app = typer.Typer(help="The versions of a corpus and what changed between them.", no_args_is_help=True)

Task = Annotated[str, typer.Argument(help="A task: `hotline tasks` lists them.")]


class Transcripts(StrEnum):
    """How transcripts come with recordings; `auto` looks."""

    auto = "auto"
    table = "table"
    names = "names"
    kaldi = "kaldi"
    wenet = "wenet"
    funasr = "funasr"


def add_to(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    task: Task,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Tables (xlsx, ods, csv, tsv, jsonl, also .gz), or folders and zips of recordings."),
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="Which column is what (YAML).")] = None,
    format: Annotated[Transcripts, typer.Option(help="How transcripts come with recordings.")] = Transcripts.auto,
    json: Json = False,
) -> None:
    """Import tables of rows, or recordings with transcripts: map, de-identify, check, split, store a new snapshot."""
    from data.ingest import import_table
    from hotline import settings, tasks

    declared, here = tasks.find(task), settings.load()
    chosen = _mapping(declared, mapping, files or [], format)
    report = import_table(here, declared, chosen, files or [], progress=output.stage, track=output.track)
    if json:
        output.as_json(report.as_dict())
    else:
        output.note(str(report))


def _mapping(task: Any, path: Path | None, files: list[Path], format: Transcripts) -> Any:
    """The mapping in that file, or the one that ships for the recordings' format. Raises InputError without one."""
    from data.mapping import load
    from data.transcripts import usual_mapping
    from hotline.errors import InputError

    if path is None and task.audio_field and files:
        found = usual_mapping(files, format.value)
    elif path is None:
        raise InputError(
            "which column is what?",
            expected="--mapping FILE.yaml",
            next="see data/mappings for examples and docs/guide.md",
        )
    else:
        found = load(path)
    return found if format is Transcripts.auto else found.read_as(cast("Format", format.value))


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
