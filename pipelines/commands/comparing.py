"""compare: versions side by side, as a table, as JSON, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import output
from pipelines.commands.models import OneTask, resolve
from pipelines.output import Json

if TYPE_CHECKING:
    from hotline.records import ModelAddress
    from hotline.settings import Settings
    from hotline.task import Task

Lines = Annotated[
    list[str], typer.Argument(help="Two or more recipes or LINE@VERSION; the first is the baseline.", metavar="A B…")
]


def add_to(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    lines: Lines,
    task: OneTask = None,
    html: Annotated[
        Path | None, typer.Option(help="The page; default: evaluation/comparisons/TASK-A-B.html.", metavar="FILE")
    ] = None,
    audio: Annotated[int, typer.Option(min=0, help="Recordings in the page: those of so many worst rows.")] = 20,
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    json: Json = False,
) -> None:
    """Compare versions on the same test rows, with paired differences to the first; writes a page, too."""
    from evaluation import page
    from evaluation.compare import compare as run
    from hotline import settings

    here = settings.load()
    shared, addresses = same_task(here, lines, task)
    comparison = run(here, shared, addresses)
    path = page.write(here, comparison, html, audio)
    if json:
        output.as_json({**comparison.as_dict(), "page": str(path)})
    else:
        from rich.console import Console

        Console(highlight=False).print(comparison.table())
        output.note(f"page: {path}")
    if open:
        typer.launch(path.resolve().as_uri())


def same_task(here: Settings, lines: Sequence[str], task: str | None) -> tuple[Task, list[ModelAddress]]:
    """The first task that all of them answer, and their addresses. Raises InputError without one."""
    from hotline.errors import InputError

    resolved = [resolve(here, line, task) for line in lines]
    named = [[each.name for each in tasks] for tasks, _ in resolved]
    shared = [each for each in resolved[0][0] if all(each.name in names for names in named)]
    if len(resolved) < 2 or not shared:
        found = "; ".join(", ".join(names) for names in named)
        raise InputError("compare takes two or more versions of one task", found=found)
    return shared[0], [address for _, address in resolved]
