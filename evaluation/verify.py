"""Everything that can be checked about what answers: chain, policy, bytes, verdicts, lock file, aliases, reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation import entitlement, gate, promote, report
from hotline import approvals, heads, policy, registry, tasks
from hotline.errors import HotlineError, IntegrityError
from hotline.ledger import Chain, Champion, Ledger
from hotline.policy import SitePolicy
from hotline.settings import Settings
from hotline.task import Task

REPAIR = "hotline verify --repair"


@dataclass(frozen=True)
class Check:
    """One thing that was checked, and the problem if there is one."""

    name: str
    found: str
    problem: HotlineError | None = None
    checked: bool = True
    """False when what it takes is not on this machine: neither right nor wrong."""

    @property
    def mark(self) -> str:
        return "✗" if not self.ok else "✓" if self.checked else "–"

    @property
    def ok(self) -> bool:
        return self.problem is None

    def error(self) -> HotlineError:
        """The problem, to be raised. Raises ValueError when the check succeeded."""
        if self.problem is None:
            raise ValueError(f"{self.name} has no problem")
        return self.problem

    def as_dict(self) -> dict[str, object]:
        problem = None if self.problem is None else self.problem.as_dict()
        return {"name": self.name, "ok": self.ok, "checked": self.checked, "found": self.found, "problem": problem}


def verify(settings: Settings, task: Task | None = None, *, repair: bool = False) -> list[Check]:
    """One check per thing; a check fails, it does not raise. A broken chain ends it: nothing else can be trusted then.

    With `repair`, ledger.head, champions.lock and the MLflow aliases are first set as the ledger says.
    Raises PolicyError without a usable policy.
    """
    site, ledger = policy.load(settings.workspace), Ledger.of(settings)
    chain_check, chain = read_chain(ledger)
    if chain is None:
        return [chain_check]
    champions = {name: found for name, found in chain.champions().items() if task is None or name == task.name}
    checks = [chain_check, attempt("policy", lambda: policy_words(site))]
    if repair:
        checks.append(attempt("repair", lambda: _repair(settings, chain, site, champions)))
    for name, champion in champions.items():
        checks += _champion(settings, chain, site, name, champion)
    checks.append(attempt("champions.lock", lambda: _lock(settings, chain)))
    checks.append(attempt("ledger.head", lambda: _head(settings, chain)))
    for path in sorted(settings.verdicts.glob(f"*/*/{report.VERDICT_FILE}")):
        checks.append(
            attempt(f"report of {path.parent.parent.name} on {path.parent.name}", partial(_report, chain, path))
        )
    return checks


def attempt(name: str, look: Callable[[], str]) -> Check:
    """A check that fails with what `look` raises."""
    try:
        return Check(name, look())
    except HotlineError as error:
        return Check(name, error.what, error)


def policy_words(site: SitePolicy) -> str:
    """The policy in a few words. Raises PolicyError when it has expired."""
    policy.refuse_expired(site, "judge, approve or promote")
    until = f", valid until {site.valid_until}" if site.valid_until else ""
    return f"site {site.site}, profile {site.profile}, approvals {site.approvals}{until}"


def read_chain(ledger: Ledger) -> tuple[Check, Chain | None]:
    """The verified chain, or why there is none."""
    try:
        chain = ledger.read()
    except HotlineError as error:
        return Check("ledger", error.what, error), None
    return Check("ledger", f"{len(chain.entries)} entries, head {chain.head[:12]}"), chain


def _champion(settings: Settings, chain: Chain, site: SitePolicy, task: str, champion: Champion) -> Iterator[Check]:
    model = champion.record.model
    yield attempt(f"{task}: verdict", lambda: _verdict(chain, site, champion))
    yield attempt(f"{task}: bytes of {model.line}@{model.version}", lambda: _bytes(settings, champion))
    yield attempt(f"{task}: approvals", lambda: _approvals(chain, site, champion))
    yield attempt(f"{task}: MLflow alias", lambda: _alias(settings, site, task, champion))


def _verdict(chain: Chain, site: SitePolicy, champion: Champion) -> str:
    found = chain.verdict(champion.record.verdict)
    model = champion.record.model
    if found is None or found[1].model != model:
        raise IntegrityError(
            f"{model.line}@{model.version} answers without a verdict on its bytes",
            where=f"ledger entry {champion.entry.seq}",
            next=f"hotline judge {model.line}, or hotline rollback {champion.record.task}",
        )
    entry, verdict = found
    entitlement.refuse_unpassed(entry, verdict, site)
    return f"{verdict.outcome} ({verdict.profile}), ledger entry {entry.seq}"


def _approvals(chain: Chain, site: SitePolicy, champion: Champion) -> str:
    found = chain.verdict(champion.record.verdict)
    given = approvals.of_champion(chain, site, champion, found[0]) if found else []
    return f"{len(given)} of {site.approvals}" + "".join(f", {chain.who(entry)}" for entry in given)


def _bytes(settings: Settings, champion: Champion) -> str:
    """The stored bytes are those of the record, and were made for the task as this code declares it."""
    model, client = champion.record.model, registry.connect(settings.tracking_uri)
    registry.recheck(client, model)
    folder = registry.fetch(client, model, settings.verified)
    gate.read_lineage(folder, tasks.find(champion.record.task), model)
    return f"{len(model.files)} files, digest {model.digest[:12]}"


def _alias(settings: Settings, site: SitePolicy, task: str, champion: Champion) -> str:
    model = champion.record.model
    found = registry.mirrored_champions(registry.connect(settings.tracking_uri), task, site.site)
    if found != {model.line: model.version}:
        raise IntegrityError(
            f"{task}: the MLflow alias was moved by hand; serving follows the ledger",
            where=registry.champion_alias(task, site.site),
            found=", ".join(f"{line}@{version}" for line, version in found.items()) or "no alias",
            expected=f"{model.line}@{model.version}",
            next=REPAIR,
        )
    return f"points at {model.line}@{model.version}"


def _lock(settings: Settings, chain: Chain) -> str:
    path = settings.champions_lock
    champions = len(chain.champions())
    if not path.is_file() and not champions:
        return "none yet, and no champion"
    text = path.read_text(encoding="utf-8") if path.is_file() else None
    if text is None or promote.parse_lock(text) != promote.parse_lock(promote.lock_text(chain)):
        raise IntegrityError(
            "champions.lock does not say what the ledger says",
            where=str(path),
            found="no file" if text is None else "other champions",
            expected=f"{champions} champions of the ledger",
            next=REPAIR,
        )
    return f"{champions} champions"


def _head(settings: Settings, chain: Chain) -> str:
    """The exported head is there; that the chain has its entry was checked when the chain was read."""
    head = heads.read(settings.ledger_head)
    if head is None and chain.entries:
        raise IntegrityError(
            "the ledger's head is not exported: entries cut off its end would go unnoticed",
            where=str(settings.ledger_head),
            found="no file",
            expected=f"entry {len(chain.entries)}",
            next=REPAIR,
        )
    return f"entry {head.seq} of {len(chain.entries)}" if head else "none yet, and no entry"


def _report(chain: Chain, path: Path) -> str:
    return f"{report.check(chain, path).outcome}, as in the ledger"


def _repair(settings: Settings, chain: Chain, site: SitePolicy, champions: dict[str, Champion]) -> str:
    promote.export_head(settings, chain)
    promote.write_lock(settings, chain)
    for task in champions:
        promote.mirror(settings, chain, site, task)
    return f"ledger.head, champions.lock and {len(champions)} aliases set as the ledger says"
