"""Who answers a task: promotion on a passed verdict, rollback to the champion before. The ledger decides.

`champions.lock` and the MLflow alias only repeat what the ledger says; `hotline verify --repair` makes them anew.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from evaluation import references
from evaluation.entitlement import entitled, refuse_unpassed
from hotline import approvals, heads, keys, policy, registry
from hotline.errors import RefusedError, UnavailableError
from hotline.ledger import Chain, Entry, Ledger
from hotline.policy import SitePolicy
from hotline.records import ModelAddress, Promotion, Rollback
from hotline.settings import Settings
from hotline.task import Task

LOCK_HEADER = "# What answers each task, as the ledger says; written by hotline promote and rollback, never by hand.\n"
log = logging.getLogger(__name__)


def promote(settings: Settings, task: Task, address: ModelAddress, reason: str) -> Entry:
    """From now on this version answers the task; the entry that says so, or the standing one when it does already.

    Raises RefusedError without a passed, current verdict under the site's profile or without the approvals that it asks
    for, IntegrityError when bytes or test rows are not those that were judged, PolicyError without an operator's key or
    when the policy has expired.
    """
    site = policy.load(settings.workspace)
    policy.refuse_expired(site, "promote")
    key, ledger = keys.load(settings.keys, "operator"), Ledger.of(settings)
    ledger.check_signer(key.public, "promotion")
    chain = ledger.read()
    champion = chain.champion(task.name)
    if champion and champion.record.model.digest == address.digest:
        log.info("%s@%s is the champion of %s already: nothing to do", address.line, address.version, task.name)
        _repeat(settings, ledger, site, task)
        return champion.entry
    planned = _promotion(chain, site, task, address, reason, key.public)
    _, verdict = entitled(chain, site, task, address)
    references.refuse_relabelled(settings, task, verdict)
    registry.recheck(registry.connect(settings.tracking_uri), planned.model)
    entry = ledger.append(lambda now: _promotion(now, site, task, address, reason, key.public), key)
    _repeat(settings, ledger, site, task)
    return entry


def rollback(settings: Settings, task: Task, reason: str) -> Entry:
    """The champion before this one answers again, on its own passed verdict; the entry that says so.

    It is open to an operator after the policy has expired, too. Raises RefusedError when there is none before it, its
    verdict does not hold at this site or lacks approvals, IntegrityError when its bytes changed, PolicyError without an
    operator's key.
    """
    site = policy.load(settings.workspace)
    key, ledger = keys.load(settings.keys, "operator"), Ledger.of(settings)
    ledger.check_signer(key.public, "rollback")
    planned = _rollback(ledger.read(), site, task, reason)
    registry.recheck(registry.connect(settings.tracking_uri), planned.model)
    entry = ledger.append(lambda now: _same_target(_rollback(now, site, task, reason), planned), key)
    _repeat(settings, ledger, site, task)
    return entry


def _promotion(
    chain: Chain, site: SitePolicy, task: Task, address: ModelAddress, reason: str, operator: str
) -> Promotion:
    """Decided anew on every head: of two operators, one meets the other's champion and is refused as stale."""
    entry, verdict = entitled(chain, site, task, address)
    approved = approvals.refuse_missing(chain, site, entry, operator)
    return Promotion(
        site=site.site,
        task=task.name,
        time=_now(),
        model=verdict.model,
        verdict=entry.hash,
        previous_champion=verdict.previous_champion,
        reason=reason,
        approvals=tuple(approval.hash for approval in approved),
    )


def _rollback(chain: Chain, site: SitePolicy, task: Task, reason: str) -> Rollback:
    current, before = chain.champion(task.name), chain.previous(task.name)
    if current is None or before is None:
        raise RefusedError(
            f"{task.name} has no champion before this one" if current else f"{task.name} has no champion",
            expected="two promotions",
            next="hotline promote another version",
        )
    found = chain.verdict(before.record.verdict)
    if found is None or found[1].model != before.record.model:
        raise RefusedError(
            "the champion before this one stands on no verdict about its bytes",
            where=f"ledger entry {before.entry.seq}",
            next=f"hotline judge {before.record.model.line}",
        )
    refuse_unpassed(*found, site)
    approvals.refuse_missing(chain, site, found[0], None)
    return Rollback(
        site=site.site,
        task=task.name,
        time=_now(),
        model=before.record.model,
        verdict=before.record.verdict,
        previous_champion=current.record.model.digest,
        reason=reason,
    )


def _same_target(now: Rollback, planned: Rollback) -> Rollback:
    if (now.model, now.previous_champion) != (planned.model, planned.previous_champion):
        raise RefusedError(
            f"the champion of {now.task} changed meanwhile",
            found=now.previous_champion,
            expected=planned.previous_champion,
            next=f"look at hotline versions, then hotline rollback {now.task}",
        )
    return now


def export_head(settings: Settings, chain: Chain) -> None:
    """ledger.head as the chain says it, unless a newer entry stands there."""
    heads.export(settings.ledger_head, len(chain.entries), chain.head)


def write_lock(settings: Settings, chain: Chain) -> Path:
    """champions.lock as the chain says it; the same chain always makes the same bytes."""
    path = settings.champions_lock
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(lock_text(chain), encoding="utf-8")
    scratch.replace(path)
    return path


def lock_text(chain: Chain) -> str:
    """The content of champions.lock: task → line, version, digest and the ledger entry that says so."""
    content = {
        task: {
            "line": champion.record.model.line,
            "version": champion.record.model.version,
            "digest": champion.record.model.digest,
            "ledger": champion.entry.seq,
        }
        for task, champion in chain.champions().items()
    }
    return LOCK_HEADER + yaml.safe_dump(content, sort_keys=True, allow_unicode=True)


def parse_lock(text: str) -> Any:
    """What a champions.lock says; text that is no YAML says nothing that equals a real one."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def mirror(settings: Settings, chain: Chain, site: SitePolicy, task: str) -> None:
    """Point MLflow's alias at the champion. Raises UnavailableError."""
    champion = chain.champion(task)
    if champion:
        client = registry.connect(settings.tracking_uri)
        registry.mirror_champion(client, task, site.site, champion.record.model)


def _repeat(settings: Settings, ledger: Ledger, site: SitePolicy, task: Task) -> None:
    """Lock file and alias after the ledger; what fails here is repaired later, the decision stands."""
    chain = ledger.read()
    export_head(settings, chain)
    write_lock(settings, chain)
    try:
        mirror(settings, chain, site, task.name)
    except UnavailableError as error:
        log.warning("the ledger has it, but the MLflow alias is not set; next: hotline verify --repair\n%s", error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
