"""access create, access list, access revoke: who may call the endpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines import output
from pipelines.output import Json

access_app = typer.Typer(help="Access keys of callers: create, list, revoke.", no_args_is_help=True)
Key = Annotated[str, typer.Option("--key", help="The operator's signing key: its name, or a file.")]


@access_app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who will use the key; shown in lists, written to no log.")],
    task: Annotated[list[str] | None, typer.Option(help="A task that it may ask; default: every one.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="call, metrics or admin; default: call.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how long it holds.")] = 365,
    priority: Annotated[str, typer.Option(help="live, or bulk: answered behind live calls.")] = "live",
    per_minute: Annotated[int | None, typer.Option(min=1, help="Calls a minute; default: no limit.")] = None,
    per_day: Annotated[int | None, typer.Option(min=1, help="Calls a day (UTC); default: no limit.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Calls at a time; default: no limit.")] = None,
    key: Key = "operator",
    json: Json = False,
) -> None:
    """Make an access key and show its secret, once."""
    from hotline import settings
    from serving.access import issue

    limits = {"per_minute": per_minute, "per_day": per_day, "concurrency": concurrency}
    wish = {"tasks": tuple(task) if task else None, "roles": tuple(role or ("call",)), "priority": priority, **limits}
    made, secret = issue.create(settings.load(), name, days, key, wish)
    if json:
        output.as_json({"id": made.id, "key": secret, "expires": made.expires.isoformat()})
        return
    output.note(f"access key {made.id} of {name}, until {made.expires:%Y-%m-%d}; it is shown this once:")
    output.note(f"  {secret}", "bold")
    output.note("send it as the header  Authorization: Bearer …  (export HOTLINE_API_KEY=… for hotline predict)", "dim")


@access_app.command("list")
def list_keys(json: Json = False) -> None:
    """Every access key: what it may, until when, and whether it was revoked. No secrets: none are kept."""
    from hotline import settings
    from serving.access import issue

    found = issue.listed(settings.load())
    if json:
        output.as_json(found)
        return
    columns = ("id", "name", "state", "expires", "roles", "tasks", "priority", "limits")
    output.table("", columns, [[each[column] for column in columns] for each in found])


@access_app.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id, as in the list.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the register.")],
    key: Key = "operator",
) -> None:
    """Refuse a key from now on; endpoints that run follow within seconds."""
    from hotline import settings
    from serving.access import issue

    issue.revoke(settings.load(), id, reason, key)
    output.note(f"access key {id} is revoked")
