"""baseline, drift, report, notify, dashboards export: what is watched of the endpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import output
from pipelines.output import Json

if TYPE_CHECKING:
    from serving.watch.drift import SignalState

dashboards_app = typer.Typer(help="Dashboard and alerts of the endpoints' metrics.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    for command in (baseline, drift, report, notify):
        app.command()(command)


def baseline(
    line: Annotated[str, typer.Argument(help="A recipe's name, or LINE@VERSION.")],
    task: Annotated[str | None, typer.Option("--task", help="One of the tasks it answers; default: every one.")] = None,
    json: Json = False,
) -> None:
    """Tell serving what a version was trained and judged on, so that drift is noticed; `promote` does it, too."""
    from hotline import settings
    from pipelines.baselines import make
    from pipelines.commands.models import resolve

    here = settings.load()
    tasks, address = resolve(here, line, task)
    for each in tasks:
        made, path = make(here, each, address)
        if json:
            output.as_json({"task": each.name, "file": str(path), "signals": [one.name for one in made.signals]})
            continue
        rows = [(one.name, len(one.bins), one.rows, one.threshold) for one in made.signals]
        output.table(f"{each.name}: {path}", ("signal", "bins", "rows", "threshold (bits)"), rows)


def drift(json: Json = False) -> None:
    """Whether what is asked and answered has moved since training, by task, version and signal."""
    from hotline import settings
    from serving.watch.drift import states

    found = states(settings.load().state)
    if json:
        output.as_json([state.model_dump(exclude={"signals": {"__all__": {"sums"}}}) for state in found])
        return
    rows = [
        (state.task, state.version, state.windows, one.name, one.divergence, one.threshold, one.psi, _said(one))
        for state in found
        for one in state.signals
    ]
    output.table("", ("task", "version", "windows", "signal", "divergence", "threshold", "psi", ""), rows)
    if not found:
        output.note("nothing was watched yet: hotline baseline LINE, then hotline serve", "dim")


def report(
    version: Annotated[str, typer.Argument(help="LINE@VERSION, after.")],
    against: Annotated[str, typer.Option(help="LINE@VERSION, before.")],
    task: Annotated[str | None, typer.Option("--task", help="One task; default: every one that both know.")] = None,
    price_per_hour: Annotated[float | None, typer.Option(min=0, help="Of the machine; cost is in its money.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page, too.")] = None,
    json: Json = False,
) -> None:
    """Before and after: throughput, response time, time-outs, accuracy and cost of two versions, as measured."""
    from hotline import settings
    from pipelines import before_after
    from pipelines.before_after_page import write

    found = before_after.report(settings.load(), version, against, task, price_per_hour)
    if html:
        write(html, found)
    if json:
        output.as_json([each.as_dict() for each in found])
        return
    for each in found:
        rows = [
            (line.name, line.unit, line.before, line.after, _percent(line.change), line.judged) for line in each.lines
        ]
        output.table(each.task, ("", "", each.before, each.after, "change", ""), rows)
        for note in each.notes:
            output.note(f"  {note}", "dim")
    if html:
        output.note(f"page: {html}", "dim")


def notify(json: Json = False) -> None:
    """Send a test message to every webhook of the site, and say who took it."""
    from hotline import notices, policy, settings
    from hotline.errors import HotlineError, UnavailableError

    site = policy.load(settings.load().workspace)
    notice = notices.Notice(event="test", site=site.site, said="hotline notify")
    found: list[dict[str, Any]] = []
    for number, webhook in enumerate(site.webhooks, start=1):
        try:
            notices.send(webhook, notice)
            found.append({"webhook": number, "kind": webhook.kind, "taken": True, "why": None})
        except HotlineError as error:
            found.append({"webhook": number, "kind": webhook.kind, "taken": False, "why": " ".join(str(error).split())})
    if json:
        output.as_json(found)
    else:
        output.table("", ("", "kind", "taken", "why"), [tuple(each.values()) for each in found])
    if not all(each["taken"] for each in found):
        raise typer.Exit(UnavailableError.exit_code)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:+.1%}"


def _said(signal: SignalState) -> str:
    if not signal.flagged:
        return f"{signal.alarms} alarms before" if signal.alarms else ""
    moved = ", ".join(f"{name} {usual:.0%} → {now:.0%}" for name, usual, now in signal.moved)
    return f"flagged: {moved}" if moved else "flagged"


@dashboards_app.callback()
def dashboards() -> None:
    """Dashboard and alerts of the endpoints' metrics."""


@dashboards_app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where to write hotline.json and alerts.yaml.")], json: Json = False
) -> None:
    """Write Grafana's dashboard (hotline.json) and Prometheus' alerting rules (alerts.yaml)."""
    from serving.watch.panels import FOLDER

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(FOLDER.iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
        written.append(str(folder / path.name))
    if json:
        output.as_json({"files": written})
    else:
        output.note("\n".join(written))
