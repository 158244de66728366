"""The gate: candidate and champion answer the same test rows in one go, and a signed verdict says what was found.

It refuses to judge what cannot be judged honestly: another task's version, leaked test rows, references of the same
machine, a missing snapshot, a profile without bars, answers that are not there, an expired policy.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from data.store import Rows, Snapshot, open_snapshot
from evaluation import answers, evidence, findings, leaks, report
from evaluation.findings import Standing
from evaluation.measure import differences, measure
from hotline import digests, keys, machine, policy, registry
from hotline.errors import RefusedError
from hotline.ledger import Chain, Entry, Ledger
from hotline.policy import SitePolicy
from hotline.records import ENVIRONMENT, LINEAGE_FILE, Evidence, Figure, LeakCheck, Lineage, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.task import Task

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
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


def judge(settings: Settings, task: Task, address: ModelAddress, *, progress: bool = True) -> tuple[Entry, Verdict]:
    """The verdict on that version for the site's profile, signed by the gate's key, and its ledger entry.

    Judged again with the same evidence, the recorded verdict is given back. Raises RefusedError when it cannot be
    judged, IntegrityError when bytes differ, PolicyError without a gate key or when the policy has expired,
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
    verdict = _verdict(settings, client, case, file, pace, progress)
    entry = _recorded(ledger.read(), verdict, site) or ledger.append(lambda chain: _current(chain, verdict), key)
    recorded = entry.record
    if not isinstance(recorded, Verdict):
        raise TypeError(f"ledger entry {entry.seq} is no verdict")
    report.write(settings, entry, recorded, pace.figures)
    report.log_figures(client, recorded, pace.figures)
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
    declared = digests.of_value(task.declaration())
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
    settings: Settings, client: MlflowClient, case: _Case, file: Path, pace: answers.Pace, progress: bool
) -> Verdict:
    """Answer, measure, decide; not signed yet. `pace` is told how fast the candidate answered."""
    task, rows = case.task, case.rows
    asked = {CANDIDATE: case.address}
    if case.champion is not None and case.standing == "challenger":
        asked[CHAMPION] = case.champion
    said = {
        name: answers.answer_rows(
            settings, client, task, address, rows.inputs, progress=progress, pace=pace if name == CANDIDATE else None
        )
        for name, address in asked.items()
    }
    answers.save(file, rows.ids, said)
    said = answers.read(file, task, rows.ids, list(asked))
    figures = measure(task, rows.targets, said[CANDIDATE], rows)
    bars = task.bars[case.site.profile]
    relative = [bar.score for bar in bars if bar.not_worse_than_champion_by is not None]
    paired = (
        differences(task, rows.targets, said[CHAMPION], said[CANDIDATE], rows, only=relative)
        if CHAMPION in asked
        else ()
    )
    known = evidence.known_values(task, case.snapshot.rows(), case.shown_before, case.site.retired_slices)
    found = findings.decide(task, case.site.profile, figures, paired, case.standing, known)
    return Verdict(
        site=case.site.site,
        task=task.name,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        profile=case.site.profile,
        model=case.address,
        outcome=findings.outcome(found),
        findings=found,
        figures=figures,
        evidence=_evidence(case, file),
        previous_champion=case.champion.digest if case.champion else None,
        libraries=evidence.libraries(),
        code=machine.revision(),
        hardware=machine.hardware(),
    )


def _recorded(chain: Chain, verdict: Verdict, site: SitePolicy) -> Entry | None:
    """The newest verdict on this version, when it says the same on the same evidence and has not expired.

    When it was, by which commit and on which machine makes no other verdict.
    """
    entry, newest = next(iter(chain.verdicts(verdict.task, verdict.model.digest)), (None, None))
    surroundings = {name: getattr(verdict, name) for name in ENVIRONMENT}
    if entry is None or newest is None or newest.model_copy(update=surroundings) != verdict:
        return None
    ends = site.verdict_ends(newest.time)
    if ends is not None and datetime.now(UTC) > ends:
        return None
    log.info("the same evidence was judged before: ledger entry %d of %s holds", entry.seq, newest.time)
    return entry


def _current(chain: Chain, verdict: Verdict) -> Verdict:
    """The verdict, unless the champion it was judged against has changed meanwhile."""
    champion = chain.champion(verdict.task)
    now = champion.record.model.digest if champion else None
    if now != verdict.previous_champion:
        raise RefusedError(
            f"{verdict.task}: the champion changed while this version was judged against the former one",
            found=now,
            expected=verdict.previous_champion or "no champion",
            next=f"hotline judge {verdict.model.line}",
        )
    return verdict
