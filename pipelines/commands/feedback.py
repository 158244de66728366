"""feedback key, feedback export: what callers corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json

feedback_app = typer.Typer(help="Captured calls and the corrections of callers.", no_args_is_help=True)


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
    task: Annotated[str, typer.Argument(help="A task: `hotline tasks` lists them.")],
    output_folder: Annotated[
        Path | None, typer.Option("--output", help="A new folder; default: in data/incoming, which git ignores.")
    ] = None,
    key: Annotated[str, typer.Option("--key", help="The operator's signing key: its name, or a file.")] = "operator",
    json: Json = False,
) -> None:
    """Decrypt corrected calls into a table with a mapping, to import; the export is signed into the access register."""
    from hotline import settings
    from pipelines.feedback import export as run

    report = run(settings.load(), task, output_folder, key)
    if json:
        output.as_json(report)
        return
    output.note("{rows} corrected calls → {output}".format(**report))
    output.note("next: hotline import {task} {output} --mapping {mapping}".format(**report), "dim")
