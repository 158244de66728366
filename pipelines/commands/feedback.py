"""feedback key, feedback export, feedback calls: what callers said, and what they corrected."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json

feedback_app = typer.Typer(help="Captured calls and the corrections of callers.", no_args_is_help=True)

Task = Annotated[str, typer.Argument(help="A task: `hotline tasks` lists them.")]
Folder = Annotated[
    Path | None, typer.Option("--output", help="A new folder; default: in data/incoming, which git ignores.")
]
SigningKey = Annotated[str, typer.Option("--key", help="The operator's signing key: its name, or a file.")]
DAYS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@feedback_app.command("key")
def key() -> None:
    """Make the key that captured calls are read with, and print the lines for policy/site.yaml."""
    from hotline import settings
    from serving.capture import sealing

    here = settings.load()
    public = sealing.create(here.keys)
    output.note(f"the private key is {here.keys / sealing.FILE}: keep it apart from the endpoints")
    output.note(f"add to {here.workspace / 'policy' / 'site.yaml'}, by review:")
    output.note(f"capture: {{public_key: {public}, share: 0.01, days: 30}}", "bold")


@feedback_app.command("export")
def export(
    task: Task,
    output_folder: Folder = None,
    signing_key: SigningKey = "operator",
    json: Json = False,
) -> None:
    """Decrypt corrected calls into a table with a mapping, to import; the export is signed into the access register."""
    from hotline import settings
    from pipelines.feedback import export as run

    report = run(settings.load(), task, output_folder, signing_key)
    if json:
        output.as_json(report)
        return
    output.note("{rows} corrected calls → {output}".format(**report))
    output.note("next: hotline import {task} {output} --mapping {mapping}".format(**report), "dim")


@feedback_app.command("calls")
def calls(
    task: Task,
    since: Annotated[datetime, typer.Option(formats=DAYS, help="UTC.")] = datetime(1970, 1, 1),
    until: Annotated[datetime, typer.Option(formats=DAYS, help="UTC; default: now.")] = datetime(9999, 1, 1),
    output_folder: Folder = None,
    signing_key: SigningKey = "operator",
    json: Json = False,
) -> None:
    """Decrypt captured calls of a period, to replay; that it was done is signed into the access register."""
    from hotline import settings
    from pipelines.feedback import calls as run

    period = (since.replace(tzinfo=UTC), until.replace(tzinfo=UTC))
    report = run(settings.load(), task, *period, output_folder, signing_key)
    if json:
        output.as_json(report)
        return
    output.note("{calls} calls → {output}".format(**report))
    output.note("next: hotline replay LINE@VERSION --task {task} --calls {output}".format(**report), "dim")
