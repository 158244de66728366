"""shadow, canary, withdraw: a version beside the champion, before it may become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipelines import output
from pipelines.output import Json

if TYPE_CHECKING:
    from hotline.ledger import Entry

Version = Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")]
OneTask = Annotated[str | None, typer.Option("--task", help="One of the tasks it answers; default: every one.")]
Reason = Annotated[str, typer.Option(help="Written into the ledger.")]


def add_to(app: typer.Typer) -> None:
    for command in (shadow, canary, withdraw):
        app.command()(command)


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
