"""bundle, bundle-check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json

Folder = Annotated[Path, typer.Argument(help="The bundle's folder.")]


def add_to(app: typer.Typer) -> None:
    app.command()(bundle)
    app.command("bundle-check")(bundle_check)


def bundle(
    folder: Folder,
    wheels: Annotated[bool, typer.Option(help="Pack the Python packages, too; about a gigabyte.")] = True,
    json: Json = False,
) -> None:
    """Pack everything that the endpoints need on a machine without any network: models, verdicts, keys, wheels."""
    from hotline import settings
    from pipelines.bundle import make

    output.stage("packing")
    made = make(settings.load(), folder.resolve(), wheels=wheels)
    if json:
        output.as_json({name: value for name, value in made.items() if name != "files"})
        return
    output.note(
        f"{folder}: {len(made['files'])} files, root {made['root'][:12]}, signed by {made['signer'][:12]}…", "green"
    )
    for task, model in made["serves"].items():
        output.note(f"  {task}: {model}")
    output.note(f"next, on the other machine: {folder.name}/start.sh --key {made['signer']}", "dim")


def bundle_check(
    folder: Folder,
    key: Annotated[str | None, typer.Option(help="The public key that must have signed it, in hex.")] = None,
    json: Json = False,
) -> None:
    """Check every digest and the signature of a bundle."""
    from pipelines.bundle import check

    found = check(folder.resolve(), key)
    if json:
        output.as_json({name: value for name, value in found.items() if name != "files"})
    else:
        output.note(f"✓ {len(found['files'])} files as packed on {found['made']}, signed by {found['signer']}", "green")
