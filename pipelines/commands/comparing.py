"""compare, review, audit: versions side by side, for figures, for people's preference, and for second looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import output
from pipelines.commands.candidates import candidates
from pipelines.commands.models import OneTask
from pipelines.output import Json

if TYPE_CHECKING:
    from evaluation.audit import AuditReport
    from evaluation.blind import Purpose
    from evaluation.review import Preference
    from evaluation.sheets import Exported

Lines = Annotated[
    list[str],
    typer.Argument(help="Recipes, LINE@VERSION or endpoint:NAME; the first is the baseline.", metavar="A B…"),
]
A = Annotated[str, typer.Argument(help="A recipe or LINE@VERSION; usually the champion.", metavar="A")]
B = Annotated[str, typer.Argument(help="The other one; usually the candidate.", metavar="B")]
Out = Annotated[Path, typer.Argument(help="The sheet: .csv, .jsonl, or .html to click through.", metavar="OUT")]
Sheet = Annotated[Path, typer.Argument(help="The sheet that came back: csv, xlsx or jsonl.", metavar="SHEET")]
KeyFile = Annotated[Path, typer.Argument(help="The key that was exported with it.", metavar="KEY")]
Seed = Annotated[int, typer.Option(help="Of the draw and the shuffling.")]
review_app = typer.Typer(help="Which of two versions do people prefer? Blind.", no_args_is_help=True)
audit_app = typer.Typer(help="Were the regressions real? A blind second look at references.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.command()(compare)
    app.add_typer(review_app, name="review")
    app.add_typer(audit_app, name="audit")


def compare(
    lines: Lines,
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", help="Another hotline deployment, by its address; repeatable.")
    ] = None,
    task: OneTask = None,
    html: Annotated[
        Path | None, typer.Option(help="The page; default: evaluation/comparisons/TASK-A-B.html.", metavar="FILE")
    ] = None,
    audio: Annotated[int, typer.Option(min=0, help="Recordings in the page: those of so many worst rows.")] = 20,
    open: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    json: Json = False,
) -> None:
    """Compare candidates on the same test rows, with paired differences to the first; writes a page, too."""
    from evaluation import page
    from evaluation.compare import compare as run
    from hotline import settings

    here = settings.load()
    comparison = run(here, *candidates(here, lines, endpoint or (), task))
    path = page.write(here, comparison, html, audio)
    if json:
        output.as_json({**comparison.as_dict(), "page": str(path)})
    else:
        from rich.console import Console

        Console(highlight=False).print(comparison.table())
        for system in comparison.systems:
            if system.usage:
                output.note(f"{system.name}: {system.usage.words}")
        output.note(f"page: {path}")
    if open:
        typer.launch(path.resolve().as_uri())


@review_app.command("export")
def review_export(
    a: A,
    b: B,
    out: Out,
    rows: Annotated[int, typer.Option(min=1, help="Pairs to ask about, drawn from the rows that differ.")] = 100,
    seed: Seed = 0,
    task: OneTask = None,
    json: Json = False,
) -> None:
    """Pairs of answers, shuffled, without names; the key goes into OUT.key.json."""
    _export("review", (a, b), out, rows, seed, task, json)


@audit_app.command("export")
def audit_export(
    a: A,
    b: B,
    out: Out,
    rows: Annotated[int | None, typer.Option(min=1, help="At most so many; default: all that differ.")] = None,
    seed: Seed = 0,
    task: OneTask = None,
    json: Json = False,
) -> None:
    """Rows where two versions differ: reference and answers in random order, without names."""
    _export("audit", (a, b), out, rows, seed, task, json)


def _export(
    purpose: Purpose, lines: Sequence[str], out: Path, rows: int | None, seed: int, task: str | None, json: bool
) -> None:
    from evaluation import sheets
    from evaluation.compare import compare as run
    from hotline import settings

    here = settings.load()
    sheets.refuse_other_kinds(out)
    made = sheets.export(run(here, *candidates(here, lines, (), task)), purpose, out, rows, seed)
    if json:
        output.as_json(made.as_dict())
    else:
        _print_export(purpose, made)


def _print_export(purpose: Purpose, made: Exported) -> None:
    output.note(
        f"{made.items} of the {made.differing} rows that differ, of {made.rows} test rows: {made.sheet}", "green"
    )
    if made.clips:
        output.note(f"recordings: {made.clips}")
    output.note(f"key: {made.key}; keep it from whoever answers")
    output.note(f"next: hotline {purpose} import SHEET {made.key}", "dim")


@review_app.command("import")
def review_import(sheet: Sheet, key: KeyFile, json: Json = False) -> None:
    """Win rate and ties of a sheet that came back, with a 95 % interval."""
    from evaluation.review import read

    found = read(sheet, key)
    if json:
        output.as_json(found.as_dict())
    else:
        _print_preference(found)


def _print_preference(found: Preference) -> None:
    rate = found.win_rate
    output.note(f"{found.task}: {found.words} ({found.items} items, {rate.clusters} independent callers)", "bold")
    rows = [(found.b, found.b_wins), (found.a, found.a_wins), ("tie", found.ties)]
    output.table("", ("preferred", "items", "share"), [(name, count, count / found.items) for name, count in rows])
    interval = "" if rate.low is None or rate.high is None else f" ({rate.low:.3f}…{rate.high:.3f})"
    output.note(f"win rate of {found.b}, a tie being half a win: {rate.estimate:.3f}{interval}")
    left = "" if found.left_chosen is None else f"the left one was chosen in {found.left_chosen:.0%}; "
    output.note(f"{left}asked about rows that differ only: {found.differing} of {found.rows} test rows", "dim")


@audit_app.command("import")
def audit_import(sheet: Sheet, key: KeyFile, json: Json = False) -> None:
    """Count the wrong references, and commit the corrected test rows as a new snapshot."""
    from evaluation.audit import bring_back
    from hotline import settings

    found = bring_back(settings.load(), sheet, key)
    if json:
        output.as_json(found.as_dict())
    else:
        _print_audit(found)


def _print_audit(found: AuditReport) -> None:
    output.note(f"{found.task}: {found.wrong_references} wrong references in {found.checked} rows checked", "bold")
    parts = (("regressions", found.regressions), ("improvements", found.improvements), ("neither", found.neither))
    rows = [(name, part.items, part.checked, part.wrong_references, part.still) for name, part in parts]
    columns = ("by the old references", "rows", "checked", "wrong references", "still so")
    output.table(f"{found.b} against {found.a}", columns, rows)
    if found.quarantined:
        kinds = "; ".join(f"{count} × {kind}" for kind, count in found.reasons.items())
        output.note(f"{found.quarantined} of {found.lines} lines in quarantine ({kinds}): {found.quarantine}", "yellow")
    if not found.relabelled:
        output.note(f"no reference was changed; the snapshot is still {found.snapshot[:12]}")
        return
    output.note(f"{found.relabelled} rows corrected: snapshot {found.before[:12]} → {found.snapshot[:12]}", "green")
    diff = f"hotline data diff {found.task} {found.before[:12]} {found.snapshot[:12]}"
    output.note(f"next: {diff}; hotline judge {found.a}; hotline judge {found.b}", "dim")
