"""The gate: candidate and champion answer the same test rows in one go, and a signed verdict says what was found.

It refuses to judge what cannot be judged honestly: another task's version, leaked test rows, references of the same
machine, a missing snapshot, a profile without bars, answers that are not there, an expired policy.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data.store import Rows, Snapshot, open_snapshot
from evaluation import answers, evidence, findings, leaks, on_ray, plots, recording, report, unfinished
from evaluation.findings import Standing
from evaluation.planning import settles
from evaluation.weighing import weigh_answers
from hotline import digests, families, keys, machine, policy, registry
from hotline.errors import RefusedError
from hotline.ledger import Chain, Entry, Ledger
from hotline.policy import SitePolicy
from hotline.records import LINEAGE_FILE, Evidence, Figure, LeakCheck, Lineage, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.task import Task

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
Place = Literal["here", "ray"]
"""Where rows are answered: in this process, or by the actors of a Ray cluster."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Case:
    """What is judged, against what, on what."""

    task: Task
    site: SitePolicy
    address: ModelAddress
    champion: ModelAddress | None
    lineage: Lineage
    leaks: LeakCheck
    snapshot: Snapshot
    rows: Rows
    shown_before: tuple[Figure, ...]
    """What the champion's own verdict measured: no slice may be missing unnoticed."""

    @property
    def standing(self) -> Standing:
        if self.champion is None:
            return "first model"
        return "champion" if self.champion.digest == self.address.digest else "challenger"

    @property
    def systems(self) -> dict[str, ModelAddress]:
        """Who answers the test rows, in one go."""
        asked = {CANDIDATE: self.address}
        return asked | ({CHAMPION: self.champion} if self.champion and self.standing == "challenger" else {})


def judge(
    settings: Settings, task: Task, address: ModelAddress, *, progress: bool = True, on: Place = "here"
) -> tuple[Entry, Verdict]:
    """The verdict on that version for the site's profile, signed by the gate's key, and its ledger entry.

    Judged again with the same evidence, the recorded verdict is given back; after an interruption, judging goes on.
    Raises RefusedError when it cannot be judged, IntegrityError when bytes differ, PolicyError without a gate key or
    when the policy has expired,
    UnavailableError without MLflow.
    """
    site = policy.load(settings.workspace)
    policy.refuse_expired(site, "judge")
    refuse_without_bars(task, site)
    key, ledger = keys.load(settings.keys, "gate"), Ledger.of(settings)
    ledger.check_signer(key.public, "verdict")
    client = registry.connect(settings.tracking_uri)
    case = _prepare(settings, client, task, site, address, ledger.read())
    file = report.folder(settings, address.line, task.name) / report.ANSWERS_FILE
    pace = answers.Pace()
    libraries = evidence.libraries(*case.systems.values())
    with unfinished.evaluation(settings, task, case.systems, case.rows, libraries, on) as kept:
        verdict = _verdict(settings, client, case, file, pace, progress, kept, on)
        entry = recording.standing(ledger.read(), verdict, site) or ledger.append(
            lambda chain: recording.current(chain, verdict), key
        )
    recorded = entry.record
    if not isinstance(recorded, Verdict):
        raise TypeError(f"ledger entry {entry.seq} is no verdict")
    beside = pace.figures | report.shares(recorded)
    report.write(settings, entry, recorded, beside)
    report.log_figures(client, recorded, beside)
    return entry, recorded


def refuse_without_bars(task: Task, site: SitePolicy) -> None:
    """Raises RefusedError when the task declares no bars for the site's profile: nothing would be demanded."""
    if not task.bars.get(site.profile):
        raise RefusedError(
            f"{task.name} declares no bars for the profile {site.profile}",
            where=f"site {site.site}, policy/site.yaml",
            expected="at least one bar",
            next=f"declare bars[{site.profile!r}] in hotline/tasks, by review",
        )


def read_lineage(folder: Path, task: Task, address: ModelAddress) -> Lineage:
    """The version's lineage. Raises RefusedError when it is missing, of another task or another declaration."""
    name, again = f"{address.line}@{address.version}", f"hotline train {address.line}"
    try:
        lineage = Lineage.model_validate_json((folder / LINEAGE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RefusedError(f"{name} does not say what it was made from", found=error, next=again) from error
    if task.name not in lineage.declarations:
        trained = ", ".join(lineage.declarations)
        raise RefusedError(f"{name} was trained for another task", found=trained, expected=task.name, next=again)
    declared = digests.of_value(families.by(task, lineage.family).declaration())
    if lineage.declarations[task.name] != declared:
        raise RefusedError(
            f"{name} was trained for another declaration of {task.name}",
            found=lineage.declarations[task.name][:12],
            expected=declared[:12],
            next=again,
        )
    return lineage


def _prepare(
    settings: Settings,
    client: MlflowClient,
    task: Task,
    site: SitePolicy,
    address: ModelAddress,
    chain: Chain,
) -> _Case:
    """Everything that can be refused before anything is answered."""
    lineage = read_lineage(registry.fetch(client, address, settings.verified), task, address)
    snapshot = open_snapshot(settings, task)
    rows = snapshot.rows("test")
    if not len(rows):
        raise RefusedError(
            f"{task.name} has no test rows",
            where=f"snapshot {snapshot.digest[:12]}",
            next=f"hotline import {task.name} FILE --mapping MAPPING",
        )
    check = leaks.refuse_leaks(settings, task, lineage, address, rows)
    for warning in check.warnings:
        log.warning("%s: %s", task.name, warning)
    champion = chain.champion(task.name)
    before = chain.verdict(champion.record.verdict) if champion else None
    shown = before[1].figures if before else ()
    return _Case(
        task, site, address, champion.record.model if champion else None, lineage, check, snapshot, rows, shown
    )


def _evidence(case: _Case, file: Path) -> Evidence:
    table = case.snapshot.table
    return Evidence(
        lineage=case.lineage,
        test_snapshot=case.snapshot.digest,
        test_rows=case.rows.digest,
        policy=case.site.digest,
        answers=digests.of_file(file),
        splits=evidence.splits(table.column("id").to_pylist(), table.column("split").to_pylist()),
        bars=case.task.bars_digest(case.site.profile),
        adapter=evidence.adapter(case.address),
        merge_report=evidence.merge_report(case.address),
        leaks=case.leaks,
    )


def _verdict(
    settings: Settings,
    client: MlflowClient,
    case: _Case,
    file: Path,
    pace: answers.Pace,
    progress: bool,
    kept: unfinished.Evaluation,
    on: Place,
) -> Verdict:
    """Answer, measure, decide; not signed yet. `pace` is told how fast the candidate answered."""
    task, rows, asked = case.task, case.rows, case.systems
    elsewhere = partial(on_ray.answer, snapshot=case.snapshot.digest, ids=rows.ids) if on == "ray" else None
    said = {
        name: answers.answer_rows(
            settings,
            client,
            task,
            address,
            rows.inputs,
            progress=progress,
            pace=pace if name == CANDIDATE else None,
            keeper=kept.of(name),
            answerer=elsewhere,
        )
        for name, address in asked.items()
    }
    answers.save(file, rows.ids, said)
    said = answers.read(file, task, rows.ids, list(asked))
    weighed = weigh_answers(task, case.site.profile, rows, said[CANDIDATE], said.get(CHAMPION))
    plots.write(file.parent, task, rows.targets, said[CANDIDATE], weighed.figures)
    known = evidence.known_values(task, case.snapshot.rows(), case.shown_before, case.site.retired_slices)
    found = findings.decide(task, case.site.profile, weighed.figures, weighed.differences, case.standing, known)
    return Verdict(
        site=case.site.site,
        task=task.name,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=case.site.profile,
        model=case.address,
        outcome=findings.outcome(found),
        findings=found,
        figures=weighed.figures,
        evidence=_evidence(case, file),
        previous_champion=case.champion.digest if case.champion else None,
        libraries=evidence.libraries(*asked.values()),
        code=machine.revision(),
        hardware=machine.hardware(),
        tests=weighed.tests,
        settles=settles(task, case.site.profile, found, weighed.figures),
        parts=dict(Counter(sorted(each.answered_by for each in said[CANDIDATE] if each.answered_by))),
    )
