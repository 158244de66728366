"""Everything that can be checked about one version: bytes, origin, verdict, answers, test rows, policy, approvals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from evaluation import entitlement, references, report
from evaluation.gate import read_lineage
from evaluation.verify import REPAIR, Check, attempt, policy_words, read_chain
from hotline import approvals, digests, policy, registry, tasks
from hotline.chain import Chain, Entry
from hotline.errors import HotlineError, IntegrityError, RefusedError, UnknownName
from hotline.ledger import Ledger
from hotline.policy import SitePolicy
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.task import Task


@dataclass(frozen=True)
class _Judged:
    """One version for one task, with its newest verdict."""

    settings: Settings
    site: SitePolicy
    chain: Chain
    task: Task
    entry: Entry
    verdict: Verdict

    @property
    def name(self) -> str:
        return f"{self.verdict.model.line}@{self.verdict.model.version}"


def verify_version(settings: Settings, line: str, version: str) -> list[Check]:
    """One check per thing; a check fails, it does not raise. Works for versions that never were champion.

    Raises PolicyError, and UnknownName for a version that neither the registry nor the ledger knows.
    """
    site, ledger = policy.load(settings.workspace), Ledger.of(settings)
    chain_check, chain = read_chain(ledger)
    if chain is None:
        return [chain_check]
    newest = _newest_verdicts(chain, line, version)
    named = _registered(settings, line, version, known=bool(newest))
    models = {verdict.model.digest: verdict.model for _, verdict in newest.values()}
    checks = [chain_check, attempt("policy", lambda: policy_words(site))]
    checks += [attempt("bytes", partial(_bytes, settings, model)) for model in models.values()]
    if not models:
        checks.append(attempt("bytes", lambda: _registered_bytes(settings, line, version)))
    for name in sorted({*named, *newest}):
        if name in newest:
            checks += _of_task(_Judged(settings, site, chain, tasks.find(name), *newest[name]))
        else:
            checks.append(_unjudged(line, version, name))
    return checks


def _registered(settings: Settings, line: str, version: str, known: bool) -> list[str]:
    """The tasks that the registry says the version answers. Raises UnknownName, unless the ledger has `known` it."""
    try:
        _, tags = registry.find(registry.connect(settings.tracking_uri), line, version)
    except UnknownName:
        if known:
            return []
        raise
    return [name for name in tags.get(registry.TASK_TAG, "").split(registry.TASK_SEPARATOR) if name]


def _registered_bytes(settings: Settings, line: str, version: str) -> str:
    _, model = registry.address(registry.connect(settings.tracking_uri), line, version)
    return f"{len(model.files)} files, digest {model.digest[:12]}, as registered"


def _newest_verdicts(chain: Chain, line: str, version: str) -> dict[str, tuple[Entry, Verdict]]:
    """By task; the ledger's own word on which bytes the version is."""
    found: dict[str, tuple[Entry, Verdict]] = {}
    for entry in chain.entries:
        record = entry.record
        if isinstance(record, Verdict) and (record.model.line, record.model.version) == (line, version):
            found[record.task] = entry, record
    return found


def _unjudged(line: str, version: str, task: str) -> Check:
    error = RefusedError(f"no verdict on {line}@{version} for {task}", next=f"hotline judge {line}@{version}")
    return Check(f"{task}: verdict", error.what, error)


def _of_task(judged: _Judged) -> Iterator[Check]:
    name = judged.task.name
    yield attempt(f"{name}: verdict", lambda: _verdict(judged))
    yield attempt(f"{name}: lineage", lambda: _lineage(judged))
    yield _test_rows(judged)
    yield _answers(judged)
    yield attempt(f"{name}: approvals", lambda: _approvals(judged))
    yield attempt(f"{name}: promotion", lambda: _promotion(judged))
    yield attempt(f"{name}: MLflow alias", lambda: _alias(judged))


def _verdict(judged: _Judged) -> str:
    """What it says, when it entitles to a promotion under today's profile and bars, or says openly that it does not."""
    entry, verdict, site = judged.entry, judged.verdict, judged.site
    if verdict.outcome == "passed":
        entitlement.refuse_unpassed(entry, verdict, site)
    policy_then = "" if verdict.evidence.policy == site.digest else "; the policy's text has changed since"
    return (
        f"{verdict.outcome} ({verdict.profile}), ledger entry {entry.seq} of {verdict.time}, signed by "
        f"{judged.chain.who(entry)}, after {entry.prev_hash[:12]}{policy_then}"
    )


def _bytes(settings: Settings, model: ModelAddress) -> str:
    registry.recheck(registry.connect(settings.tracking_uri), model)
    return f"{len(model.files)} files, digest {model.digest[:12]}, as judged"


def _lineage(judged: _Judged) -> str:
    """The version's own lineage file says what the verdict says, and is of the task as this code declares it."""
    settings, model, recorded = judged.settings, judged.verdict.model, judged.verdict.evidence.lineage
    folder = registry.fetch(registry.connect(settings.tracking_uri), model, settings.verified)
    lineage: Lineage = read_lineage(folder, judged.task, model)
    if lineage != recorded:
        raise IntegrityError(
            f"{judged.name}: its lineage is not the one in its verdict",
            where=LINEAGE_FILE,
            found=digests.of_value(lineage.model_dump(mode="json"))[:12],
            expected=digests.of_value(recorded.model_dump(mode="json"))[:12],
            next=f"hotline judge {model.line}",
        )
    return f"run {model.run_id}, recipe {lineage.recipe[:12]}, snapshot {lineage.snapshot[:12]}"


def _not_checked(name: str, why: str) -> Check:
    return Check(name, why, checked=False)


def _test_rows(judged: _Judged) -> Check:
    name, evidence = f"{judged.task.name}: test rows", judged.verdict.evidence
    try:
        rows = references.judged_rows(judged.settings, judged.task, judged.verdict)
    except UnknownName:
        return _not_checked(name, f"snapshot {evidence.test_snapshot[:12]} is not here: dvc pull")
    except HotlineError as error:
        return Check(name, error.what, error)
    return Check(name, f"{len(rows)} rows of snapshot {evidence.test_snapshot[:12]}, as judged")


def _answers(judged: _Judged) -> Check:
    """The file of answers lies beside the newest verdict of the line; of an older verdict it is gone."""
    name = f"{judged.task.name}: answers"
    place = report.folder(judged.settings, judged.verdict.model.line, judged.task.name)
    kept = place / report.ANSWERS_FILE
    if not kept.is_file() or report.claimed(place / report.VERDICT_FILE) != judged.entry.hash:
        return _not_checked(name, "the answers of this verdict are not on this machine")
    found = digests.of_file(kept)
    if found == judged.verdict.evidence.answers:
        return Check(name, f"{kept.name}, digest {found[:12]}")
    error = IntegrityError(
        f"the answers of {judged.name} were edited: they are not those that were judged",
        where=str(kept),
        found=found[:12],
        expected=judged.verdict.evidence.answers[:12],
        next=f"hotline judge {judged.verdict.model.line}",
    )
    return Check(name, error.what, error)


def _approvals(judged: _Judged) -> str:
    """Who approved. Raises RefusedError when this version answers without the approvals that the policy asks for."""
    chain, champion = judged.chain, judged.chain.champion(judged.task.name)
    if champion and champion.record.verdict == judged.entry.hash:
        found = approvals.of_champion(chain, judged.site, champion, judged.entry)
    else:
        found = approvals.counted(chain, judged.entry, None)
    who = ", ".join(f"{chain.who(entry)} (entry {entry.seq})" for entry in found)
    return f"{len(found)} of {judged.site.approvals}" + (f": {who}" if who else "")


def _promotion(judged: _Judged) -> str:
    """When it answered and by whose decision. Raises IntegrityError for a promotion of other bytes."""
    model = judged.verdict.model
    named = [
        champion
        for champion in judged.chain.history(judged.task.name)
        if (champion.record.model.line, champion.record.model.version) == (model.line, model.version)
    ]
    other = next((champion for champion in named if champion.record.model != model), None)
    if other:
        raise IntegrityError(
            f"{judged.name} was promoted with other bytes than were judged",
            where=f"ledger entry {other.entry.seq}",
            found=other.record.model.digest[:12],
            expected=model.digest[:12],
            next=f"hotline judge {model.line}",
        )
    if not named:
        return "never promoted"
    newest = named[0]
    current = judged.chain.champion(judged.task.name)
    answers = "answers" if current and current.entry == newest.entry else "answered once"
    said = f"{newest.record.kind} of {newest.record.time} by {judged.chain.who(newest.entry)}: {newest.record.reason}"
    return f"{answers} since ledger entry {newest.entry.seq}, {said}"


def _alias(judged: _Judged) -> str:
    """The alias points at this version if, and only if, it is the champion."""
    model, task, site = judged.verdict.model, judged.task.name, judged.site.site
    champion = judged.chain.champion(task)
    mirrored = registry.mirrored_champions(registry.connect(judged.settings.tracking_uri), task, site)
    points = mirrored.get(model.line) == model.version
    answers = champion is not None and champion.record.model.digest == model.digest
    if points != answers:
        expected = f"{champion.record.model.line}@{champion.record.model.version}" if champion else "no alias"
        raise IntegrityError(
            f"{task}: the MLflow alias was moved by hand; serving follows the ledger",
            where=registry.champion_alias(task, site),
            found=", ".join(f"{line}@{version}" for line, version in mirrored.items()) or "no alias",
            expected=expected,
            next=REPAIR,
        )
    return "points at this version" if points else "points elsewhere, as the ledger says"
