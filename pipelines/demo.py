"""The demo: generated tickets through the whole chain, to real answers over HTTP.

It runs what a person would run (`dvc repro`, promote, serve), so a second run reuses what is up to date.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotline import policy, settings, tasks
from hotline.errors import InputError
from hotline.ledger import Ledger
from hotline.records import ModelAddress, Verdict
from hotline.settings import POLICY_FILE, Settings
from pipelines import workspace
from pipelines.usage import Usage

if TYPE_CHECKING:
    from data.store import Rows

TASK = tasks.find("ticket_category")
GOOD, WEAK = "tickets", "tickets_without_xiangjiang"
SOURCE = Path("data") / "incoming" / "tickets.xlsx"
SEED = 20260
QUESTIONS = 4


def run(folder: Path, rows: int, port: int, as_json: bool) -> None:
    """Make, train, judge, promote, serve and ask; with `as_json` the last line of stdout is one JSON object."""
    from serving.run import check_port

    check_port("127.0.0.1", port)
    say = _printer(as_json)
    with Usage() as usage:
        here = _workspace(folder, rows, say)
        say.step("1/5", "import and train (dvc repro): generated tickets become a typed, de-identified, split snapshot")
        workspace.dvc(here.workspace, "repro", "--quiet", f"judge@{GOOD}", show=True)
        corpus = _corpus(here, say)
        say.step("2/5", "the verdict on the candidate, and its promotion")
        good = _verdict(here, GOOD, say)
        _promote(here, say)
        say.step("3/5", "a second candidate, trained without one district, against the champion")
        workspace.dvc(here.workspace, "repro", "--quiet", f"judge@{WEAK}", show=True)
        weak = _verdict(here, WEAK, say)
        say.step("4/5", "is the figure honest? the same split through TF-IDF, and the same model with shuffled inputs")
        honest = _honesty(here, good, say)
        say.step("5/5", "served by Ray Serve, asked over HTTP")
        answers = _ask(here, port, say)
    figures = {
        "scores": honest,
        "corpus": corpus,
        "verdicts": {GOOD: good.outcome, WEAK: weak.outcome},
        "versions": {GOOD: good.model.digest, WEAK: weak.model.digest},
        "served": {"answers": len(answers), "right": sum(answer["right"] for answer in answers)},
        "seconds": round(usage.seconds, 1),
        "cpu_seconds": round(usage.cpu_seconds, 1),
        "peak_gib": round(usage.peak_gib, 2),
    }
    _farewell(here, figures, say)
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))


@dataclass(frozen=True)
class _Printer:
    """Text for people: on stdout, or on stderr when stdout belongs to the JSON."""

    write: Callable[..., None]

    def step(self, number: str, text: str) -> None:
        self.write(f"\n[bold cyan]{number}[/] [bold]{text}[/]")


def _printer(as_json: bool) -> _Printer:
    from rich.console import Console

    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False, soft_wrap=True)
    return _Printer(console.print)


def _workspace(folder: Path, rows: int, say: _Printer) -> Settings:
    """The demo's workspace with its generated source file; both are kept when they are there."""
    from data import synthetic

    fresh = not (folder / POLICY_FILE).exists()
    here = workspace.create(folder, "demo", "demo", demo_keys=True) if fresh else settings.load(folder)
    if policy.load(here.workspace).profile != "demo":
        raise InputError("this workspace is not a demo", where=str(folder), next="hotline demo --workspace ANOTHER")
    source, size = here.workspace / SOURCE, here.workspace / SOURCE.with_suffix(".rows")
    if not source.exists() or not size.exists() or size.read_text() != str(rows):
        source.parent.mkdir(parents=True, exist_ok=True)
        synthetic.write_xlsx(source, rows, SEED)
        size.write_text(str(rows))
    say.write(f"workspace {here.workspace}" + ("" if fresh else " (reused: only what changed is run again)"))
    return here


def _corpus(here: Settings, say: _Printer) -> dict[str, Any]:
    """Counts that say how hard the corpus is."""
    from data.store import open_snapshot

    snapshot = open_snapshot(here, TASK)
    train, test = snapshot.rows("train"), snapshot.rows("test")
    seen = {_text(train, number) for number in range(len(train))}
    texts = [_text(test, number) for number in range(len(test))]
    everything = [*seen, *texts]
    imports = snapshot.manifest.imports
    found: dict[str, Any] = {
        "snapshot": snapshot.digest,
        "rows": snapshot.manifest.rows,
        "quarantined": sum(summary.quarantined for summary in imports),
        **{f"{split}_rows": count for split, count in sorted(snapshot.manifest.splits.items())},
        "leaves": len(snapshot.tree.leaves),
        "distinct_sentences": len(set(everything)),
        "vocabulary_characters": len(set("".join(everything))),
        "test_seen_in_training": round(sum(text in seen for text in texts) / len(texts), 4),
    }
    say.write(
        "  {rows} rows kept, {quarantined} quarantined with a reason; {leaves} categories; {distinct_sentences} "
        "distinct sentences, {vocabulary_characters} characters; share of test sentences seen in training: "
        "{test_seen_in_training:.0%}".format(**found)
    )
    return found


def _text(rows: Rows, number: int) -> str:
    return str(getattr(rows.inputs[number], "text"))  # noqa: B009 - declared by the demo's task


def _verdict(here: Settings, line: str, say: _Printer) -> Verdict:
    """The newest verdict on what that recipe's last run left."""
    address = ModelAddress.model_validate_json((here.models / line / "model.json").read_text(encoding="utf-8"))
    site = policy.load(here.workspace).site
    chain = Ledger(here.ledger_url, site, policy.load_signers(here.workspace)).read()
    _, verdict = chain.verdicts(TASK.name, address.digest)[0]
    colour = {"passed": "green", "failed": "red"}.get(verdict.outcome, "yellow")
    say.write(f"  {line}@{verdict.model.version}: [bold {colour}]{verdict.outcome}[/]")
    for finding in verdict.findings:
        mark = {"passed": "[green]✓[/]", "failed": "[red]✗[/]"}.get(finding.outcome, "[yellow]?[/]")
        where = (
            f" [dim]{finding.figure.slice}={finding.figure.value}[/]" if finding.figure and finding.figure.slice else ""
        )
        say.write(f"    {mark} {finding.bar}{where}: {finding.reason}")
    return verdict


def _promote(here: Settings, say: _Printer) -> None:
    from evaluation.promote import promote

    address = ModelAddress.model_validate_json((here.models / GOOD / "model.json").read_text(encoding="utf-8"))
    entry = promote(here, TASK, address, "the demo's own candidate")
    say.write(f"  champion of {TASK.name}: {address.line}@{address.version} (ledger entry {entry.seq}, demo key)")


def _honesty(here: Settings, verdict: Verdict, say: _Printer) -> dict[str, float]:
    """Ours, TF-IDF + logistic regression and the shuffled control, on the same test rows."""
    from data.store import open_snapshot
    from evaluation import baseline
    from hotline import families, registry

    snapshot = open_snapshot(here, TASK)
    family = families.find(TASK.family)
    model = family.load(registry.fetch(registry.connect(here.tracking_uri), verdict.model, here.verified), TASK)
    train, test = snapshot.rows("train"), snapshot.rows("test")
    ours = {figure.score: figure.estimate for figure in verdict.figures if figure.slice is None}
    theirs = baseline.tfidf_scores(TASK, train, test)
    control = baseline.shuffled_control(TASK, family, model, test, seed=SEED)
    found = {
        "macro_f1": float(ours["macro_f1"] or 0),
        "accuracy": float(ours["accuracy"] or 0),
        "tfidf_macro_f1": theirs["macro_f1"],
        "tfidf_accuracy": theirs["accuracy"],
        "shuffled_macro_f1": control["macro_f1"],
        "chance_accuracy": 1 / len(snapshot.tree.leaves),
        "shuffled_accuracy": control["accuracy"],
    }
    found = {name: round(value, 4) for name, value in found.items()}
    say.write(
        "  macro-F1 [bold]{macro_f1:.3f}[/] on unseen wordings; TF-IDF + logistic regression {tfidf_macro_f1:.3f}; "
        "shuffled inputs {shuffled_macro_f1:.3f} (chance is about {chance_accuracy:.3f})".format(**found)
    )
    return found


def _ask(here: Settings, port: int, say: _Printer) -> list[dict[str, Any]]:
    """Test tickets through the live endpoint, beside what a person labelled."""
    import httpx

    from data.store import open_snapshot
    from serving.run import start

    rows = open_snapshot(here, TASK).rows("test")
    stride = max(1, len(rows) // QUESTIONS)
    answers = []
    running = start(here, port)
    try:
        for number in range(0, stride * QUESTIONS, stride):
            text, truth = _text(rows, number), getattr(rows.targets[number], "label")  # noqa: B009
            reply = httpx.post(f"{running.url}/v1/tasks/{TASK.name}", json={"text": text}, timeout=30)
            reply.raise_for_status()
            body = reply.json()
            said = body["answer"]["label"]
            answers.append({"right": said == truth, "request_id": body["id"]})
            mark = "[green]✓[/]" if said == truth else f"[red]✗ {truth}[/]"
            say.write(f"  「{text[:70]}」\n    → [bold]{said}[/] {body['confidence']:.2f} {mark} [dim]{body['id']}[/]")
    finally:
        running.stop()
    return answers


def _farewell(here: Settings, figures: dict[str, Any], say: _Printer) -> None:
    place = os.path.relpath(here.workspace)
    say.write(
        "\n[bold]done[/] in {seconds:.0f} s ({cpu_seconds:.0f} CPU-seconds, at most {peak_gib:.1f} GiB)".format(
            **figures
        )
    )
    say.write(f"  the endpoints again:  make serve      → http://127.0.0.1:{here.port}/docs (OpenAPI page)")
    say.write("  runs and registry:    make mlflow     → http://127.0.0.1:5000")
    say.write(f"  an answer's origin:   hotline --workspace {place} trace REQUEST_ID")
    say.write(f"  both candidates:      hotline --workspace {place} compare {GOOD} {WEAK}")
    say.write(f"  quarantined rows:     {place}/data/quarantine, contract report: {place}/data/reports")
