"""text conformance, text show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json

text_app = typer.Typer(help="How transcripts are written, and how far that agrees with others.", no_args_is_help=True)


@text_app.command()
def conformance(
    folder: Annotated[Path, typer.Argument(help="Folders itn… (spoken => written) and tn… (written => spoken).")],
    misses: Annotated[bool, typer.Option("--misses", help="List the pairs that came out differently.")] = False,
    at_least: Annotated[
        float | None, typer.Option(help="End with status 1 when spoken → written matches less often than this.")
    ] = None,
    json: Json = False,
) -> None:
    """Exact matches of the text normaliser with lists of pairs, per file and over all."""
    from pipelines.conformance import DIRECTIONS, examine, rate

    results = examine(folder)
    rates = {direction: rate(results, direction) for direction in DIRECTIONS.values()}
    if json:
        output.as_json({"rates": rates, "files": [result.as_dict() for result in results]})
    else:
        rows = [(r.name, r.direction, r.pairs, r.matches, r.matches / r.pairs) for r in results]
        output.table("", ("file", "direction", "pairs", "matches", "rate"), rows)
        if misses:
            lost = [(r.name, miss.given, miss.expected, miss.found) for r in results for miss in r.misses]
            output.table("misses", ("file", "given", "expected", "found"), lost)
        for direction, share in rates.items():
            if share is not None:
                output.note(f"{direction}: {share:.4f} over all files", "bold")
    reached = rates[DIRECTIONS["itn"]]
    if at_least is not None and (reached is None or reached < at_least):
        raise typer.Exit(1)


@text_app.command()
def show(text: Annotated[str, typer.Argument(help="A transcript.")]) -> None:
    """A transcript as answers of this site write it, and as character errors are counted in it."""
    from hotline import policy, settings
    from hotline.text import SCORED, present, scored

    site = policy.load(settings.load().workspace)
    rows = [
        ("answered", present(text, site.text), site.text.digest[:12]),
        ("scored", scored(text), SCORED.digest[:12]),
    ]
    output.table("", ("", "text", "rules"), rows)
