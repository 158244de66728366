"""bars plan."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json

bars_app = typer.Typer(help="What a task demands, and what it takes to decide it.", no_args_is_help=True)


@bars_app.callback()
def group() -> None:
    """Keeps `plan` a command of its own while it is the only one."""


@bars_app.command()
def plan(task: Annotated[str, typer.Argument(help="A task.")], json: Json = False) -> None:
    """What each bar can tell apart on the newest test split, and how many calls of which slice it lacks."""
    from evaluation.bar_plan import plan as run
    from hotline import settings, tasks

    found = run(settings.load(), tasks.find(task))
    if json:
        output.as_json({**asdict(found), "needs": [asdict(need) for need in found.needs]})
        return
    output.note(f"{found.task}, {found.profile} bars, test split of snapshot {found.snapshot[:12]}", "bold")
    columns = ("bar", "where", "rows", "calls", "standard error", "told apart", "more calls", "standard error from")
    rows = [
        (
            need.bar,
            f"{need.slice}={need.value}" if need.slice else "all",
            need.rows,
            need.calls,
            need.standard_error,
            need.detectable,
            "not known" if need.calls_missing is None else need.calls_missing,
            need.source,
        )
        for need in found.needs
    ]
    output.table("", columns, rows)
    output.note(
        "told apart: the smallest true distance from the bar that is seen 80 % of the time; calls: independent ones, "
        "in the test split",
        "dim",
    )
