"""What a version was trained and judged on, told as the reference that serving compares its requests with."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

from hotline.errors import HotlineError, RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from hotline.drift import Reference
    from hotline.records import ModelAddress, Verdict
    from hotline.settings import Settings
    from hotline.task import Answer, Task

log = logging.getLogger(__name__)

MOST_ROWS = 20_000
"""Of the training rows, drawn at random; more change nothing that a window could tell."""


def make(settings: Settings, task: Task, address: ModelAddress) -> tuple[Reference, Path]:
    """The version's reference, and where it was written for serving.

    What is asked comes from the rows that it was trained on; answers and confidences from its answers to the test
    rows, for on rows that it has learnt a version is too sure. Raises RefusedError without a verdict or its answers,
    InputError for a corpus that is too small.
    """
    from data.store import open_snapshot
    from evaluation import judged
    from hotline import drift
    from serving.watch.drift import reference_path

    verdict = judged.find(settings, task, address).verdict
    snapshot = verdict.evidence.lineage.snapshot
    trained = open_snapshot(settings, task, snapshot).rows("train").inputs
    some = random.Random(0).sample(trained, min(len(trained), MOST_ROWS))
    told = [drift.asked_of(task, each) for each in some]
    told += [
        drift.said_of(task, each.target.model_dump(mode="json"), each.confidence)
        for each in _answers(settings, task, verdict)
    ]
    values: dict[str, list[Any]] = {}
    for one in told:
        for name, value in one.items():
            values.setdefault(name, []).append(value)
    made = drift.refer(task.name, address.digest, snapshot, values)
    path = reference_path(settings.state, task.name, address.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.model_dump_json(), encoding="utf-8")
    return made, path


def attempt(settings: Settings, task: Task, address: ModelAddress) -> None:
    """The same beside a promotion, which does not depend on it: what is wrong is logged."""
    try:
        make(settings, task, address)
    except HotlineError as error:
        log.warning("drift of %s is not watched: %s", task.name, " ".join(str(error).split()))


def _answers(settings: Settings, task: Task, verdict: Verdict) -> list[Answer]:
    """What the version answered to the test rows when it was judged."""
    from data.store import open_snapshot
    from evaluation import answers, gate, report
    from hotline import digests

    file = report.folder(settings, verdict.model.line, task.name) / report.ANSWERS_FILE
    if not file.is_file() or digests.of_file(file) != verdict.evidence.answers:
        name = f"{verdict.model.line}@{verdict.model.version}"
        raise RefusedError(
            "the answers that the verdict was reached by are not there any more",
            where=str(file),
            expected=f"those of {name}",
            next=f"hotline judge {name} --task {task.name}",
        )
    ids = open_snapshot(settings, task, verdict.evidence.test_snapshot).rows("test").ids
    return answers.read(file, task, ids, [gate.CANDIDATE])[gate.CANDIDATE]
