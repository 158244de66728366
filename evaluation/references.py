"""Whether the references that a verdict was reached on are still what they were."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hotline import digests
from hotline.errors import IntegrityError, RefusedError, UnknownName
from hotline.records import Verdict
from hotline.settings import Settings
from hotline.task import Target, Task

if TYPE_CHECKING:
    from data.store import Rows

FIRST = 3
log = logging.getLogger(__name__)


def judged_rows(settings: Settings, task: Task, verdict: Verdict) -> Rows:
    """The test rows that the verdict was reached on.

    Raises UnknownName when their snapshot is not on this machine, IntegrityError when they are other rows or have
    other references than the verdict says.
    """
    from data.store import open_snapshot

    evidence = verdict.evidence
    rows = open_snapshot(settings, task, evidence.test_snapshot).rows("test")
    if rows.digest != evidence.test_rows:
        raise IntegrityError(
            f"the test set of {verdict.model.line}@{verdict.model.version} was re-labelled: it is not the one that the"
            " verdict was reached on",
            where=f"snapshot {evidence.test_snapshot[:12]} of {task.corpus_name}",
            found=f"test rows {rows.digest[:12]}",
            expected=f"test rows {evidence.test_rows[:12]}",
            next=f"hotline judge {verdict.model.line}",
        )
    return rows


def refuse_relabelled(settings: Settings, task: Task, verdict: Verdict) -> None:
    """Raises RefusedError when references of the verdict's test rows were changed since; new rows change nothing.

    Where the corpus is not, as on an operator's machine, the signed verdict is believed, and that is logged.
    Raises IntegrityError as `judged_rows` does.
    """
    from data.store import head, open_snapshot

    if head(settings, task) is None:
        log.info("no corpus of %s on this machine: its test rows are not looked at again", task.name)
        return
    try:
        before = judged_rows(settings, task, verdict)
    except UnknownName:
        log.info("snapshot %s is not on this machine: its test rows are not looked at", verdict.evidence.test_snapshot)
        return
    now = open_snapshot(settings, task).rows("test")
    changed = relabelled(before, now)
    if changed:
        raise RefusedError(
            f"{len(changed)} test rows were re-labelled since the verdict on {verdict.model.line}@"
            f"{verdict.model.version}: it is stale",
            where=f"{task.corpus_name}: {', '.join(changed[:FIRST])}",
            found=f"snapshot {verdict.evidence.test_snapshot[:12]} was judged on",
            expected="the references of the current snapshot",
            next=f"hotline judge {verdict.model.line}",
        )


def relabelled(before: Rows, now: Rows) -> list[str]:
    """The ids of test rows that have another reference now, or are test rows no more."""
    known = dict(zip(now.ids, map(_digest, now.targets), strict=True))
    return [id for id, target in zip(before.ids, before.targets, strict=True) if known.get(id) != _digest(target)]


def _digest(target: Target) -> str:
    return digests.of_value(target.model_dump(mode="json"))
