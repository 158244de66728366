"""cascade."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json


def add_to(app: typer.Typer) -> None:
    app.command()(cascade)


def cascade(
    small: Annotated[str, typer.Argument(help="The classifier that answers first, as LINE@VERSION.")],
    large: Annotated[str, typer.Argument(help="The writer that is asked where it is not sure, as LINE@VERSION.")],
    threshold: Annotated[
        float | None, typer.Option(help="Below this confidence of the classifier the writer is asked.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="Or: at most this share of validation rows is asked of the writer.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The line to register under; default: SMALL-with-LARGE.")] = None,
    task: Annotated[str | None, typer.Option(help="The task, when both answer several.")] = None,
    json: Json = False,
) -> None:
    """Register two versions of one task as one candidate: small and large together, judged and promoted as a whole."""
    from hotline import settings
    from pipelines.cascade import register

    address = register(settings.load(), small, large, threshold, name, task, share=share)
    if json:
        output.as_json(address.model_dump(mode="json"))
        return
    output.note(f"{address.line}@{address.version}  digest {address.digest[:12]}  run {address.run_id}")
    output.note(f"next: hotline judge {address.line}@{address.version}", "dim")
