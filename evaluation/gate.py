"""The gate: candidate and champion answer the same test rows in one go, and a signed verdict says what was found.

It refuses to judge what cannot be judged honestly: another task's version, leaked test rows, a missing snapshot, a
profile without bars, answers that are not there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version as library_version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data.store import Rows, Snapshot, open_snapshot
from evaluation import answers, findings, leaks, on_ray, plots, report, unfinished
from evaluation.findings import Standing
from evaluation.measure import differences, measure, slice_columns, slice_values
from hotline import digests, keys, policy, registry
from hotline.errors import RefusedError
from hotline.ledger import Chain, Entry, Ledger
from hotline.policy import SitePolicy
from hotline.records import LINEAGE_FILE, Evidence, Lineage, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.task import Task
from hotline.text import SCORED

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LIBRARIES = ("torch", "transformers", "numpy", "scipy", "scikit-learn", "pydantic", "rapidfuzz")
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
    snapshot: Snapshot
    rows: Rows

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
    Raises RefusedError when it cannot be judged, IntegrityError when bytes differ, PolicyError without a gate key,
    UnavailableError without MLflow.
    """
    site = policy.load(settings.workspace)
    refuse_without_bars(task, site)
    key, ledger = keys.load(settings.keys, "gate"), Ledger.of(settings)
    ledger.check_signer(key.public, "verdict")
    standing_champion = ledger.read().champion(task.name)
    client = registry.connect(settings.tracking_uri)
    case = _prepare(
        settings, client, task, site, address, standing_champion.record.model if standing_champion else None
    )
    file = report.folder(settings, address.line, task.name) / report.ANSWERS_FILE
    pace = answers.Pace()
    with unfinished.evaluation(settings, task, case.systems, case.rows, libraries(), on) as kept:
        verdict = _verdict(settings, client, case, file, pace, progress, kept, on)
        entry = _recorded(ledger.read(), verdict) or ledger.append(lambda chain: _current(chain, verdict), key)
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
    champion: ModelAddress | None,
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
    leaks.refuse_leaks(settings, task, lineage, address, rows)
    return _Case(task, site, address, champion, lineage, snapshot, rows)


def libraries() -> dict[str, str]:
    """The versions of what answers and measures."""
    return {name: library_version(name) for name in LIBRARIES} | {"text rules": SCORED.digest}


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
    figures = measure(task, rows.targets, said[CANDIDATE], rows)
    plots.write(file.parent, task, rows.targets, said[CANDIDATE], figures)
    bars = task.bars[case.site.profile]
    relative = [bar.score for bar in bars if bar.not_worse_than_champion_by is not None]
    paired = (
        differences(task, rows.targets, said[CHAMPION], said[CANDIDATE], rows, only=relative)
        if CHAMPION in asked
        else ()
    )
    everything = case.snapshot.rows()
    known = {column: sorted(set(slice_values(task, column, everything))) for column in slice_columns(task)}
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
        evidence=Evidence(
            lineage=case.lineage,
            test_snapshot=case.snapshot.digest,
            test_rows=rows.digest,
            policy=case.site.digest,
            answers=digests.of_file(file),
        ),
        previous_champion=case.champion.digest if case.champion else None,
        libraries=libraries(),
    )


def _recorded(chain: Chain, verdict: Verdict) -> Entry | None:
    """The newest verdict on this version, when it says the same on the same evidence."""
    entry, newest = next(iter(chain.verdicts(verdict.task, verdict.model.digest)), (None, None))
    if entry is None or newest is None or newest.model_copy(update={"time": verdict.time}) != verdict:
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
