"""init, keys, tasks, dialects, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines import output
from pipelines.output import Json

keys_app = typer.Typer(help="Signing keys of this machine.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    for command in (init, tasks, dialects, doctor):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="A folder that is not a workspace yet.")],
    site: Annotated[str, typer.Option(help="The site's short name, for example guangzhou-12345.")],
    profile: Annotated[Literal["demo", "production"], typer.Option(help="Which bars the site holds models to.")],
    demo_keys: Annotated[
        bool, typer.Option("--demo-keys", help="Make throw-away signing keys, labelled demo.")
    ] = False,
) -> None:
    """Make a workspace: policy, pipeline, recipes."""
    from pipelines.workspace import create

    made = create(folder, site, profile, demo_keys=demo_keys)
    output.note(f"workspace of {site} ({profile}) at {made.workspace}")
    if not demo_keys:
        output.note("next: hotline keys new gate; hotline keys new operator; list them in policy/signers.yaml", "dim")


@keys_app.command("new")
def new_key(
    role: Annotated[Literal["gate", "approver", "operator"], typer.Argument(help="What the key may sign.")],
    name: Annotated[str | None, typer.Option(help="What to call it here; default: its role.")] = None,
) -> None:
    """Make a signing key on this machine and print the entry for policy/signers.yaml."""
    from hotline import keys, settings

    here = settings.load()
    key = keys.create(here.keys, name or role)
    output.note(f"add to {here.workspace / 'policy' / 'signers.yaml'}, by review:")
    output.note(f"  - {{name: {name or '<who>'}, public_key: {key.public}, roles: [{role}]}}", "bold")


def tasks(
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/tasks.md.")] = False,
) -> None:
    """The promises that are declared."""
    from hotline.tasks import TASKS

    if markdown:
        from pipelines.tasks_page import page

        print(page(), end="")
        return
    if json:
        output.as_json([task.declaration() for task in TASKS.values()])
        return
    rows = [(task.name, task.family, (task.summary or "").strip().splitlines()[0]) for task in TASKS.values()]
    output.table("", ("task", "family", "summary"), rows)


def dialects(json: Json = False) -> None:
    """The dialect tags that rows may carry."""
    from hotline.dialects import registry

    entries = registry().dialects
    if json:
        output.as_json(registry().model_dump(mode="json"))
    else:
        rows = [(entry.tag, entry.language, entry.zh, entry.dialect, entry.region) for entry in entries]
        output.table(f"version {registry().version}", ("tag", "language", "中文", "dialect", "region"), rows)


def doctor(json: Json = False) -> None:
    """What this machine can do, and what to do about what is missing."""
    from pipelines.doctor import examine

    findings = examine()
    if json:
        output.as_json([finding.as_dict() for finding in findings])
    else:
        marks = {"ok": "✓", "missing": "–", "broken": "✗"}
        output.table(
            "", ("", "what", "found", "what to do"), [(marks[f.state], f.what, f.found, f.todo) for f in findings]
        )
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
