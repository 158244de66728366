"""export, entries."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pipelines import output
from pipelines.output import Json

Line = Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")]


def add_to(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(entries)


def export(
    line: Line,
    to: Annotated[Literal["onnx"], typer.Option("--to", help="What to convert it to.")] = "onnx",
    json: Json = False,
) -> None:
    """Convert a version's arithmetic; what comes out is a version of its own, with a verdict of its own to earn."""
    from hotline import settings
    from pipelines.commands.models import resolve
    from training.export import export as run

    here = settings.load()
    tasks, address = resolve(here, line)
    made = run(here, tasks[0], address)
    name = f"{made.address.line}@{made.address.version}"
    if json:
        output.as_json({**made.address.model_dump(mode="json"), "largest_difference": made.largest_difference})
        return
    output.note(f"{name}  digest {made.address.digest[:12]}  {to}, from {address.line}@{address.version}")
    output.note(f"probabilities on the task's examples differ by at most {made.largest_difference:.1g}", "dim")
    output.note(f"next: hotline judge {name}", "dim")


def entries(line: Line, json: Json = False) -> None:
    """Put an embedder's weights over the entries of the current label tree: a version of its own, without training."""
    from hotline import settings
    from pipelines.commands.models import resolve
    from training.entries import renew

    here = settings.load()
    tasks, address = resolve(here, line)
    made, new, gone = renew(here, tasks[0], address)
    name = f"{made.line}@{made.version}"
    if json:
        output.as_json({**made.model_dump(mode="json"), "new": new, "gone": gone})
        return
    output.note(
        f"{name}  digest {made.digest[:12]}  {new} entries new, {gone} gone, from {address.line}@{address.version}"
    )
    output.note(f"next: hotline judge {name}", "dim")
