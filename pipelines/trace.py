"""From an answer back to what it stands on."""

from __future__ import annotations

from typing import Any

from hotline import registry, requests, settings, tasks
from hotline.errors import UnknownName
from hotline.ledger import Ledger
from hotline.records import Promotion, Rollback, Trial


def trace(request_id: str, text: str | None = None) -> dict[str, Any]:
    """Model, promotion, verdict, run, recipe, snapshot and label batches behind that answer, and the training rows
    nearest to what was asked: `text`, or what was captured of the request.

    Raises InputError for text that is no request id, UnknownName when this site's ledger has no such promotion.
    """
    from data.store import open_snapshot
    from pipelines.nearest import captured, nearest

    named, here = requests.parse(request_id), settings.load()
    chain = Ledger.of(here).read()
    entry = chain.by_seq(named.promotion)
    record = entry.record if entry else None
    if (
        entry is None
        or not isinstance(record, Promotion | Rollback | Trial)
        or not record.model.digest.startswith(named.digest)
    ):
        raise UnknownName(
            "this site's ledger has no such promotion",
            found=f"entry {named.promotion} for {named.digest}",
            next="hotline --workspace THE_SITE trace REQUEST_ID",
        )
    judged = chain.verdict(record.verdict)
    if judged is None:
        raise UnknownName("the ledger lacks the verdict of that promotion", found=record.verdict, next="hotline verify")
    verdict = judged[1]
    lineage = verdict.evidence.lineage
    task = tasks.find(record.task)
    rows, asked = open_snapshot(here, task, lineage.snapshot).rows("train"), text or captured(here, task, named)
    run = registry.connect(here.tracking_uri).get_run(record.model.run_id)
    return {
        "answered": named.time,
        "task": record.task,
        "model": f"{record.model.line}@{record.model.version}",
        "digest": record.model.digest,
        record.kind: f"ledger entry {entry.seq}, {record.time}, by {chain.who(entry)}: {record.reason}",
        "approvals": ", ".join(map(chain.who, chain.approvals(judged[0]))) or "none",
        "verdict": f"{verdict.outcome} under {verdict.profile}, ledger hash {record.verdict}",
        "run": record.model.run_id,
        "code": run.data.tags.get("code.revision", "unknown"),
        **({"converted from": f"{lineage.converted.name}, to {lineage.converted.to}"} if lineage.converted else {}),
        "recipe": lineage.recipe,
        "snapshot": lineage.snapshot,
        "sources": ", ".join(sorted(set(rows.provenance["source"]))),
        "label batches": ", ".join(sorted(set(rows.provenance["label_batch"]))),
        "nearest training rows": nearest(task, rows, asked) if asked else None,
    }
