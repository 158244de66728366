"""replay, shadow, canary, withdraw: a version beside the champion, before it may become one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines import output
from pipelines.output import Json

if TYPE_CHECKING:
    from hotline.ledger import Entry

Version = Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")]
OneTask = Annotated[str | None, typer.Option("--task", help="One of the tasks it answers; default: every one.")]
Reason = Annotated[str, typer.Option(help="Written into the ledger.")]


def add_to(app: typer.Typer) -> None:
    for command in (replay, shadow, canary, withdraw):
        app.command()(command)


def replay(
    line: Version,
    calls: Annotated[Path, typer.Option(help="JSON Lines of calls, or a table whose columns --column names.")],
    task: OneTask = None,
    column: Annotated[list[str] | None, typer.Option(help="Column of the text, or FIELD=COLUMN; for a table.")] = None,
    json: Json = False,
) -> None:
    """Ask a version what callers asked before: agreement, how long it takes, the worst pairs of every dialect."""
    from hotline import settings
    from pipelines.commands.models import resolve
    from pipelines.replay import replay as run

    tasks, address = resolve(settings.load(), line, task)
    for each in tasks:
        report = run(each, address, calls, column or ())
        if json:
            output.as_json(report)
        else:
            _show(report)


def _show(report: dict[str, Any]) -> None:
    agreed = [
        (name, each["calls"], each["alike"], "" if each["share"] is None else f"{each['share']:.1%}")
        for name, each in report["agreement"].items()
    ]
    title = "{version} on {calls} calls of {task}, against {against}; {failed} failed".format(**report)
    output.table(title, ("dialect", "calls", "alike", "share"), agreed)
    output.note(", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in report["seconds"].items()))
    for name, pairs in report["worst"].items():
        rows = [(f"{p['distance']:.2f}", p["question"], p["before"], p["candidate"]) for p in pairs]
        if rows:
            output.table(f"worst pairs: {name}", ("distance", "input", "before", "candidate"), rows)
    output.note(f"page: {report['page']}", "dim")


def shadow(
    line: Version,
    share: Annotated[float, typer.Option(help="Of the champion's calls, mirrored to it.")] = 0.1,
    task: OneTask = None,
    reason: Reason = "to compare it with the champion",
    json: Json = False,
) -> None:
    """Mirror a share of the calls to a version; callers hear the champion, the differences are written down."""
    _begin(line, task, "shadow", share, reason, json)


def canary(
    line: Version,
    share: Annotated[float, typer.Option(help="Of the calls, answered by it; a call stays with its version.")] = 0.05,
    task: OneTask = None,
    reason: Reason = "passed its bars",
    json: Json = False,
) -> None:
    """Have a version with a passed verdict answer a share of the calls."""
    _begin(line, task, "canary", share, reason, json)


def withdraw(line: Version, reason: Reason, task: OneTask = None, json: Json = False) -> None:
    """Try a version no more, neither in the shadow nor as a canary."""
    from evaluation.trials import withdraw as run
    from hotline import settings
    from pipelines.commands.models import resolve

    here = settings.load()
    tasks, address = resolve(here, line, task)
    for each in tasks:
        _tell(run(here, each, address, reason), f"withdrawn from {each.name}", json)


def _begin(
    line: str, task: str | None, stage: Literal["shadow", "canary"], share: float, reason: str, json: bool
) -> None:
    from evaluation.trials import begin
    from hotline import settings
    from pipelines.commands.models import resolve

    here = settings.load()
    tasks, address = resolve(here, line, task)
    said = f"in the shadow of {{}}, {share:.1%}" if stage == "shadow" else f"canary of {{}}, {share:.1%}"
    for each in tasks:
        _tell(begin(here, each, address, stage, share, reason), said.format(each.name), json)


def _tell(entry: Entry, said: str, json: bool) -> None:
    model = entry.record.model
    if json:
        output.as_json({"seq": entry.seq, "hash": entry.hash, **entry.record.model_dump(mode="json")})
    else:
        output.note(f"{model.line}@{model.version}: {said} (ledger entry {entry.seq})", "green")
