"""card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import output
from pipelines.commands.models import resolve
from pipelines.output import Json

if TYPE_CHECKING:
    from hotline.records import ModelAddress
    from hotline.settings import Settings
    from hotline.task import Task

CARD_FILE, CERTIFICATE_FILE = "README.md", "certificate.html"


def add_to(app: typer.Typer) -> None:
    app.command()(card)


def card(
    line: Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")],
    task: Annotated[str | None, typer.Option("--task", help="One of the tasks it answers; default: every one.")] = None,
    json: Json = False,
) -> None:
    """Write a judged version's model card, and the certificate of one that passed."""
    from hotline import settings

    here = settings.load()
    tasks, address = resolve(here, line, task)
    for each in tasks:
        written = _write(here, each, address)
        if json:
            output.as_json(written)
            continue
        output.note(f"card: {written['card']}")
        if written["certificate"]:
            output.note(f"certificate: {written['certificate']}", "green")
        else:
            output.note(f"no certificate: {written['refused']['message']}", "yellow")


def _write(here: Settings, task: Task, address: ModelAddress) -> dict[str, Any]:
    """Both files where they belong; without a certificate, an older one is removed and the reason given."""
    from evaluation import certificate, judged, model_card
    from hotline.errors import RefusedError

    found = judged.find(here, task, address)
    folder: Path = here.cards / found.name / task.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CARD_FILE
    path.write_text(model_card.text(found, model_card.recipe_of(here, found)), encoding="utf-8")
    said: dict[str, Any] = {"task": task.name, "card": str(path), "certificate": None}
    page = folder / CERTIFICATE_FILE
    try:
        page.write_text(certificate.page(found), encoding="utf-8")
    except RefusedError as error:
        page.unlink(missing_ok=True)
        return {**said, "refused": error.as_dict()}
    return {**said, "certificate": str(page)}
