"""export."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pipelines import output
from pipelines.output import Json

Line = Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")]


def add_to(app: typer.Typer) -> None:
    app.command()(export)


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
