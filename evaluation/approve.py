"""An approval: a person other than gate and operator signs that this very verdict entitles to a promotion."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from evaluation.entitlement import entitled, refuse_unpassed
from hotline import keys, policy
from hotline.chain import Chain, Champion, Entry
from hotline.errors import RefusedError
from hotline.ledger import Ledger
from hotline.policy import SitePolicy
from hotline.records import Approval, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.task import Task

log = logging.getLogger(__name__)


def approve(settings: Settings, task: Task, address: ModelAddress, key_name: str, reason: str) -> Entry:
    """The ledger's entry that says so; the standing one when this person has approved this verdict already.

    Raises RefusedError when the newest verdict on the version entitles to nothing or the key is the gate's, PolicyError
    without the key, or when the policy has expired.
    """
    site = policy.load(settings.workspace)
    policy.refuse_expired(site, "approve")
    key, ledger = keys.load(settings.keys, key_name, "approver"), Ledger.of(settings)
    ledger.check_signer(key.public, "approval")
    chain = ledger.read()
    verdict, _ = approvable(chain, site, task, address)
    standing = [entry for entry in chain.approvals(verdict) if entry.public_key == key.public]
    if standing:
        log.info("%s has approved this verdict already: nothing to do", chain.who(standing[0]))
        return standing[0]
    return ledger.append(lambda now: _approval(now, site, task, address, key.public, reason), key)


def approvable(chain: Chain, site: SitePolicy, task: Task, address: ModelAddress) -> tuple[Entry, Verdict]:
    """The verdict that an approval of this version is about: the newest, or the one that it stands on as champion.

    A standing champion, and the one that a rollback would bring back, may be approved later on: the policy may have
    begun to ask for it. Raises RefusedError as `entitled` does.
    """
    champion, before = chain.champion(task.name), chain.previous(task.name)
    if champion and champion.record.model.digest == address.digest:
        return _stood_on(chain, site, champion)
    try:
        return entitled(chain, site, task, address)
    except RefusedError:
        if before is None or before.record.model.digest != address.digest:
            raise
        return _stood_on(chain, site, before)


def _stood_on(chain: Chain, site: SitePolicy, champion: Champion) -> tuple[Entry, Verdict]:
    model = champion.record.model
    found = chain.verdict(champion.record.verdict)
    if found is None or found[1].model != model:
        raise RefusedError(
            f"{model.line}@{model.version} answers without a verdict on its bytes",
            where=f"ledger entry {champion.entry.seq}",
            next=f"hotline judge {model.line}",
        )
    refuse_unpassed(*found, site)
    return found


def _approval(
    chain: Chain, site: SitePolicy, task: Task, address: ModelAddress, public_key: str, reason: str
) -> Approval:
    entry, verdict = approvable(chain, site, task, address)
    if chain.name_of(public_key) == chain.who(entry):
        raise RefusedError(
            "the gate does not approve its own verdict",
            where=f"ledger entry {entry.seq}",
            found=f"both are signed by {chain.who(entry)}",
            expected="a person's own key, with the role approver",
            next="hotline keys new approver --name NAME",
        )
    return Approval(
        site=site.site,
        task=task.name,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        model=verdict.model,
        verdict=entry.hash,
        reason=reason,
    )
