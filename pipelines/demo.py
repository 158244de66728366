"""The demo: generated tickets and telephone calls through the whole chain, to real answers over HTTP.

It runs what a person would run (`dvc repro`, promote, serve), so a second run reuses what is up to date.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotline import policy, settings
from hotline.errors import InputError
from hotline.ledger import Ledger
from hotline.records import ModelAddress, Verdict
from hotline.settings import POLICY_FILE, Settings
from pipelines import demo_questions, demo_report, demo_reviews, demo_speech, demo_tickets, workspace
from pipelines.usage import Usage

REPORT = Path("report") / "index.html"
FAILED_BARS_SHOWN = 12


@dataclass(frozen=True)
class Printer:
    """Text for people: on stdout, or on stderr when stdout belongs to the JSON."""

    write: Callable[..., None]

    def step(self, number: str, text: str) -> None:
        self.write(f"\n[bold cyan]{number}[/] [bold]{text}[/]")


def run(folder: Path, rows: int, hours: float, port: int, as_json: bool) -> None:
    """Make, train, judge, promote, serve and ask; with `as_json` the last line of stdout is one JSON object."""
    from serving.access.listening import check_port
    from serving.run import start

    check_port("127.0.0.1", port)
    say = _printer(as_json)
    with Usage() as usage:
        here = _workspace(folder, say)
        say.step("1/6", "tickets and telephone calls are generated, imported, de-identified, split (dvc repro)")
        demo_tickets.make_source(here, rows)
        demo_questions.make_source(here)
        demo_reviews.make_source(here)
        demo_speech.make_source(here, hours, say.write)
        _repro(here, f"corpus@{demo_tickets.TASK.name}", f"recordings@{demo_speech.TASK.name}")
        corpora = {"tickets": demo_tickets.corpus(here, say.write), "speech": demo_speech.corpus(here, say.write)}
        say.step("2/6", "two models are trained: tickets by one process, speech by DeepSpeed over 2 CPU ranks")
        _repro(here, "train@tickets", "train@speech")
        say.step("3/6", "the gate judges them, and what passed is promoted")
        _repro(here, "judge@tickets", "judge@speech", "judge@dialects")
        verdicts = {name: _verdict(here, line, task, say) for name, line, task in _JUDGED}
        for name, line, task in _JUDGED:
            _promote(here, line, task, verdicts[name], say)
        say.step("4/6", "a second ticket candidate, trained without one district, against the champion")
        _repro(here, f"judge@{demo_tickets.WEAK}")
        verdicts[demo_tickets.WEAK] = _verdict(here, demo_tickets.WEAK, demo_tickets.TASK.name, say)
        say.step("5/6", "are the figures honest? a baseline, and the same models with somebody else's input")
        scores = {
            "tickets": demo_tickets.honesty(here, verdicts["tickets"], say.write),
            "speech": demo_speech.honesty(here, verdicts["speech"], verdicts["dialects"], say.write),
        }
        say.step("6/6", "served by Ray Serve, asked over HTTP")
        running = start(here, port)
        try:
            heard = demo_speech.ask(here, running.url, say.write)
            answers = demo_tickets.ask(here, running.url, say.write)
        finally:
            running.stop()
        page = demo_report.write(here, REPORT, corpora, verdicts, scores, heard, answers)
    figures = {
        "scores": scores,
        "corpora": corpora,
        "verdicts": {name: verdict.outcome for name, verdict in verdicts.items()},
        "versions": {name: verdict.model.digest for name, verdict in verdicts.items()},
        "served": {
            "tickets": {"answers": len(answers), "right": sum(answer["right"] for answer in answers)},
            "clips": [{name: clip[name] for name in ("dialect", "reference", "heard")} for clip in heard],
        },
        "seconds": round(usage.seconds, 1),
        "cpu_seconds": round(usage.cpu_seconds, 1),
        "peak_gib": round(usage.peak_gib, 2),
    }
    _farewell(here, figures, page, say)
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))


_JUDGED = (
    ("tickets", demo_tickets.GOOD, demo_tickets.TASK.name),
    ("speech", demo_speech.LINE, demo_speech.TASK.name),
    ("dialects", demo_speech.LINE, demo_speech.DIALECTS.name),
)
"""What the demo promotes: its name, line and task."""


def _printer(as_json: bool) -> Printer:
    from rich.console import Console

    return Printer(Console(file=sys.stderr if as_json else sys.stdout, highlight=False, soft_wrap=True).print)


def _workspace(folder: Path, say: Printer) -> Settings:
    """The demo's workspace; kept when it is there."""
    fresh = not (folder / POLICY_FILE).exists()
    here = workspace.create(folder, "demo", "demo", demo_keys=True) if fresh else settings.load(folder)
    if policy.load(here.workspace).profile != "demo":
        raise InputError("this workspace is not a demo", where=str(folder), next="hotline demo --workspace ANOTHER")
    say.write(f"workspace {here.workspace}" + ("" if fresh else " (reused: only what changed is run again)"))
    return here


def _repro(here: Settings, *stages: str) -> None:
    workspace.dvc(here.workspace, "repro", "--quiet", *stages, show=True)


def _address(here: Settings, line: str) -> ModelAddress:
    return ModelAddress.model_validate_json((here.models / line / "model.json").read_text(encoding="utf-8"))


def _verdict(here: Settings, line: str, task: str, say: Printer) -> Verdict:
    """The newest verdict on what that recipe's last run left, told."""
    _, verdict = Ledger.of(here).read().verdicts(task, _address(here, line).digest)[0]
    colour = {"passed": "green", "failed": "red"}.get(verdict.outcome, "yellow")
    say.write(f"  {line}@{verdict.model.version} for {task}: [bold {colour}]{verdict.outcome}[/]")
    for finding in verdict.findings[:FAILED_BARS_SHOWN]:
        mark = {"passed": "[green]✓[/]", "failed": "[red]✗[/]"}.get(finding.outcome, "[yellow]?[/]")
        figure = finding.figure
        where = f" [dim]{figure.slice}={figure.value}[/]" if figure and figure.slice else ""
        say.write(f"    {mark} {finding.bar}{where}: {finding.reason}")
    return verdict


def _promote(here: Settings, line: str, task: str, verdict: Verdict, say: Printer) -> None:
    """Make it the champion when it passed; what did not pass is told, and not served."""
    from evaluation.promote import promote
    from hotline import tasks
    from pipelines import baselines

    if verdict.outcome != "passed":
        say.write(f"  [yellow]{task} is not served: its candidate did not pass[/]")
        return
    address = _address(here, line)
    entry = promote(here, tasks.find(task), address, "the demo's own candidate")
    baselines.attempt(here, tasks.find(task), address)
    say.write(f"  champion of {task}: {address.line}@{address.version} (ledger entry {entry.seq}, demo key)")


def _farewell(here: Settings, figures: dict[str, Any], page: Path, say: Printer) -> None:
    place = os.path.relpath(here.workspace)
    say.write(
        "\n[bold]done[/] in {seconds:.0f} s ({cpu_seconds:.0f} CPU-seconds, at most {peak_gib:.1f} GiB)".format(
            **figures
        )
    )
    say.write(f"  clips and curves:     {os.path.relpath(page)}  (open it in a browser)")
    say.write(f"  the endpoints again:  make serve      → http://127.0.0.1:{here.port}/docs (OpenAPI page)")
    say.write(f"  a recording of yours: hotline --workspace {place} transcribe FILE.wav")
    say.write("  runs and registry:    make mlflow     → http://127.0.0.1:5000")
    say.write("  questions and FAQ:    dvc repro judge@faq_match in the workspace, hotline promote faq_match")
    say.write("  contents to review:   dvc repro judge@review_label in the workspace, hotline promote review_label")
    say.write(f"  an answer's origin:   hotline --workspace {place} trace REQUEST_ID")
    say.write(f"  both candidates:      hotline --workspace {place} compare {demo_tickets.GOOD} {demo_tickets.WEAK}")
    say.write(f"  quarantined rows:     {place}/data/quarantine, contract report: {place}/data/reports")
