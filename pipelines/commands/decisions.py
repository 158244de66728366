"""approve, history: who decided what, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import output
from pipelines.output import Json

if TYPE_CHECKING:
    from hotline.chain import Chain, Entry


def add_to(app: typer.Typer) -> None:
    for command in (approve, history):
        app.command()(command)


def approve(
    line: Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")],
    key: Annotated[str, typer.Option(help="Your own key: its name in the keys folder, or the path of its file.")],
    reason: Annotated[str, typer.Option(help="What you looked at; it is written into the ledger.")],
    task: Annotated[str | None, typer.Option("--task", help="One of the tasks it answers; default: every one.")] = None,
    json: Json = False,
) -> None:
    """Sign that the newest verdict on a version entitles it to answer, as somebody else than the operator."""
    from evaluation.approve import approve as run
    from hotline import settings
    from pipelines.commands.models import resolve

    here = settings.load()
    tasks, address = resolve(here, line, task)
    for each in tasks:
        entry = run(here, each, address, key, reason)
        if json:
            output.as_json({"seq": entry.seq, "hash": entry.hash, **entry.record.model_dump(mode="json")})
        else:
            output.note(
                f"approved: {address.line}@{address.version} for {each.name} (ledger entry {entry.seq})", "green"
            )


def history(task: Annotated[str, typer.Argument(help="A declared task.")], json: Json = False) -> None:
    """Every verdict, approval, trial, promotion and rollback of a task: when, what, by whom, why."""
    from hotline import settings, tasks
    from hotline.ledger import Ledger

    chain = Ledger.of(settings.load()).read()
    found = [_said(chain, entry) for entry in chain.of_task(tasks.find(task).name)]
    if json:
        output.as_json(found)
    else:
        columns = ("seq", "time", "kind", "version", "who", "why", "hash")
        rows = [[line["hash"][:12] if name == "hash" else line[name] for name in columns] for line in found]
        output.table("", ("entry", *columns[1:]), rows)


def _said(chain: Chain, entry: Entry) -> dict[str, Any]:
    from hotline.records import Trial, Verdict

    record = entry.record
    why = f"{record.outcome} ({record.profile})" if isinstance(record, Verdict) else record.reason
    kind = f"{record.stage} {record.share:.1%}" if isinstance(record, Trial) and record.share else record.kind
    kind = record.stage if isinstance(record, Trial) and not record.share else kind
    return {
        "seq": entry.seq,
        "time": record.time,
        "kind": kind,
        "version": f"{record.model.line}@{record.model.version}",
        "digest": record.model.digest,
        "who": chain.who(entry),
        "why": why,
        "hash": entry.hash,
        "previous": entry.prev_hash,
    }
