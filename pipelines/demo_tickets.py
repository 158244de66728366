"""The demo's tickets: where they come from, how hard they are, and what the endpoint makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hotline import tasks
from hotline.records import Verdict
from hotline.settings import Settings

if TYPE_CHECKING:
    from data.store import Rows

TASK = tasks.find("ticket_category")
GOOD, WEAK = "tickets", "tickets_without_xiangjiang"
SOURCE = Path("data") / "incoming" / "tickets.xlsx"
SEED = 20260
QUESTIONS = 4


def make_source(here: Settings, rows: int) -> None:
    """The generated spreadsheet; kept when it is there with as many rows."""
    from data import synthetic

    source, size = here.workspace / SOURCE, here.workspace / SOURCE.with_suffix(".rows")
    if source.exists() and size.exists() and size.read_text() == str(rows):
        return
    source.parent.mkdir(parents=True, exist_ok=True)
    synthetic.write_xlsx(source, rows, SEED)
    size.write_text(str(rows))


def corpus(here: Settings, write: Callable[..., None]) -> dict[str, Any]:
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
    write(
        "  tickets: {rows} rows kept, {quarantined} quarantined with a reason; {leaves} categories; "
        "{distinct_sentences} distinct sentences, {vocabulary_characters} characters; share of test sentences seen "
        "in training: {test_seen_in_training:.0%}".format(**found)
    )
    return found


def honesty(here: Settings, verdict: Verdict, write: Callable[..., None]) -> dict[str, float]:
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
    write(
        "  tickets: macro-F1 [bold]{macro_f1:.3f}[/] on unseen wordings; TF-IDF + logistic regression "
        "{tfidf_macro_f1:.3f}; shuffled inputs {shuffled_macro_f1:.3f} (chance is about {chance_accuracy:.3f})".format(
            **found
        )
    )
    return found


def ask(here: Settings, url: str, write: Callable[..., None]) -> list[dict[str, Any]]:
    """Test tickets through the live endpoint, beside what a person labelled."""
    import httpx

    from data.store import open_snapshot

    rows = open_snapshot(here, TASK).rows("test")
    stride = max(1, len(rows) // QUESTIONS)
    answers = []
    for number in range(0, stride * QUESTIONS, stride):
        text, truth = _text(rows, number), getattr(rows.targets[number], "label")  # noqa: B009
        reply = httpx.post(f"{url}/v1/tasks/{TASK.name}", json={"text": text}, timeout=30)
        reply.raise_for_status()
        body = reply.json()
        said = body["answer"]["label"]
        answers.append(
            {"text": text, "said": said, "truth": truth, "right": said == truth, "confidence": body["confidence"]}
            | {"request_id": body["id"]}
        )
        mark = "[green]✓[/]" if said == truth else f"[red]✗ {truth}[/]"
        write(f"  「{text[:70]}」\n    → [bold]{said}[/] {body['confidence']:.2f} {mark} [dim]{body['id']}[/]")
    return answers


def _text(rows: Rows, number: int) -> str:
    return str(getattr(rows.inputs[number], "text"))  # noqa: B009 - declared by the demo's task
