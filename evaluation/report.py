"""What a verdict leaves behind for people and for DVC; the ledger is what counts."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.measure import flat
from evaluation.planning import write_wanted
from hotline import digests
from hotline.errors import IntegrityError
from hotline.ledger import Chain, Entry
from hotline.records import Verdict
from hotline.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VERDICT_FILE, ANSWERS_FILE, METRICS_FILE = "verdict.json", "answers.parquet", "metrics.json"
log = logging.getLogger(__name__)


def folder(settings: Settings, line: str, task: str) -> Path:
    """Where the reports of a line on a task lie; made when it is not there."""
    place = settings.verdicts / line / task
    place.mkdir(parents=True, exist_ok=True)
    return place


def write(settings: Settings, entry: Entry, verdict: Verdict, beside: Mapping[str, float]) -> None:
    """verdict.json with the ledger's entry beside it, metrics.json as `dvc metrics` reads it, and wanted.jsonl.

    Figures `beside` the verdict, such as `rtf`, are in metrics.json alone: they are measured, not judged.
    """
    place = folder(settings, verdict.model.line, verdict.task)
    link = {name: value for name, value in asdict(entry).items() if name != "body"}
    _dump(place / VERDICT_FILE, {"ledger": link, "verdict": verdict.model_dump(mode="json")})
    _dump(place / METRICS_FILE, flat(verdict.figures) | dict(beside))
    write_wanted(place, verdict)


def shares(verdict: Verdict) -> dict[str, float]:
    """`share_large` and so on: of the test rows, how many each part of the version answered; nothing of one part."""
    return {f"share_{part}": count / sum(verdict.parts.values()) for part, count in verdict.parts.items()}


def check(chain: Chain, path: Path) -> Verdict:
    """The verdict that the report claims to be. Raises IntegrityError when the ledger holds another, or none."""
    again = "hotline judge the line again; the ledger is what counts"
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        entry = chain.by_hash(content["ledger"]["hash"])
        claimed = digests.canonical_json(content["verdict"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError("the report cannot be read", where=str(path), found=error, next=again) from error
    if entry is None or entry.body != claimed or not isinstance(entry.record, Verdict):
        raise IntegrityError(
            "the report was edited: it is not the verdict that the ledger holds",
            where=str(path),
            found="no such entry" if entry is None else f"another text than ledger entry {entry.seq}",
            next=again,
        )
    return entry.record


def claimed(path: Path) -> str | None:
    """The hash of the ledger entry that a report names; None when there is no such report."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["ledger"]["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def log_figures(client: MlflowClient, verdict: Verdict, beside: Mapping[str, float]) -> None:
    """The overall figures, and those `beside` the verdict, as metrics of the version's run: `test/macro_f1` and so on.

    The digest of the text rules they were counted by is the tag `text_rules`. Nothing decides by them.
    """
    from mlflow.entities import Metric
    from mlflow.exceptions import MlflowException

    now = int(time.time() * 1000)
    overall = [figure for figure in verdict.figures if figure.slice is None]
    metrics = [Metric(f"test/{name}", value, now, 0) for name, value in (flat(overall) | dict(beside)).items()]
    try:
        client.log_batch(verdict.model.run_id, metrics=metrics)
        client.set_tag(verdict.model.run_id, "text_rules", verdict.libraries.get("text rules"))
    except MlflowException as error:
        log.warning("the verdict stands, but MLflow did not take its figures: %s", error)


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
