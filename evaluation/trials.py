"""Versions beside the champion: in the shadow, as a canary, withdrawn. Each a signed entry of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from evaluation import references
from evaluation.entitlement import entitled, refuse_outdated, refuse_unpassed
from hotline import approvals, keys, policy, registry
from hotline.chain import Chain, Entry
from hotline.errors import InputError, RefusedError
from hotline.ledger import Ledger
from hotline.policy import SitePolicy
from hotline.records import ModelAddress, Trial, Verdict
from hotline.settings import Settings
from hotline.task import Task


def begin(
    settings: Settings,
    task: Task,
    address: ModelAddress,
    stage: Literal["shadow", "canary"],
    share: float,
    reason: str,
) -> Entry:
    """Try this version beside the task's champion from now on; the entry that says so.

    In the shadow a share of the calls is mirrored to it, and its answers are compared; a canary answers a share. Raises
    InputError for a share outside (0, 1], RefusedError without a champion, without a verdict under the site's profile
    that passed, or lacks evidence and the version stays in the shadow, or for a task of which no two copies fit;
    IntegrityError, PolicyError as a promotion does.
    """
    if not 0 < share <= 1:
        raise InputError("this is no share of the calls", found=share, expected="more than 0, at most 1")
    site = policy.load(settings.workspace)
    policy.refuse_expired(site, "try a version")
    key, ledger = keys.load(settings.keys, "operator"), Ledger.of(settings)
    ledger.check_signer(key.public, "trial")

    def decided(chain: Chain) -> Trial:
        return _trial(chain, site, task, address, stage, share, reason, key.public)

    planned = decided(ledger.read())
    judged = ledger.read().verdict(planned.verdict)
    assert judged
    references.refuse_relabelled(settings, task, judged[1])
    registry.recheck(registry.connect(settings.tracking_uri), planned.model)
    return ledger.append(decided, key)


def withdraw(settings: Settings, task: Task, address: ModelAddress, reason: str) -> Entry:
    """Try this version no more; the entry that says so. Raises RefusedError when it is not tried, PolicyError."""
    key, ledger = keys.load(settings.keys, "operator"), Ledger.of(settings)
    ledger.check_signer(key.public, "trial")

    def decided(chain: Chain) -> Trial:
        challenger = chain.challenger(task.name)
        if challenger is None or challenger.record.model.digest != address.digest:
            raise RefusedError(
                f"{address.line}@{address.version} is not tried for {task.name}",
                found=f"{challenger.record.model.line}@{challenger.record.model.version}" if challenger else "no trial",
                next=f"hotline history {task.name}",
            )
        return challenger.record.model_copy(
            update={"stage": "withdrawn", "share": 0.0, "time": _now(), "reason": reason, "approvals": ()}
        )

    return ledger.append(decided, key)


def _trial(
    chain: Chain,
    site: SitePolicy,
    task: Task,
    address: ModelAddress,
    stage: Literal["shadow", "canary"],
    share: float,
    reason: str,
    operator: str,
) -> Trial:
    champion = chain.champion(task.name)
    if champion is None or champion.record.model.digest == address.digest:
        raise RefusedError(
            f"{address.line}@{address.version} cannot be tried beside "
            + (f"the champion of {task.name}: it is the champion" if champion else "a champion: there is none"),
            next=f"hotline promote {address.line}" if champion is None else f"hotline history {task.name}",
        )
    if task.name in site.rollout.drain_then_load:
        raise RefusedError(
            f"no two versions of {task.name} fit beside each other here",
            where="rollout.drain_then_load in policy/site.yaml",
            next="hotline replay, then hotline promote",
        )
    entry, verdict = entitled(chain, site, task, address) if stage == "canary" else _seen(chain, site, task, address)
    approved = approvals.refuse_missing(chain, site, entry, operator) if stage == "canary" else []
    return Trial(
        site=site.site,
        task=task.name,
        time=_now(),
        stage=stage,
        model=verdict.model,
        verdict=entry.hash,
        champion=champion.record.model.digest,
        share=share,
        reason=reason,
        approvals=tuple(approval.hash for approval in approved),
    )


def _seen(chain: Chain, site: SitePolicy, task: Task, address: ModelAddress) -> tuple[Entry, Verdict]:
    """The newest verdict, when the version may be in the shadow: nobody hears what it says. Raises RefusedError."""
    newest = next(iter(chain.verdicts(task.name, address.digest)), None)
    if newest is None:
        name = f"{address.line}@{address.version}"
        raise RefusedError(f"no verdict on {name} for {task.name}", next=f"hotline judge {address.line}")
    entry, verdict = newest
    if verdict.outcome == "failed" or verdict.profile != site.profile:
        refuse_unpassed(entry, verdict, site)
    refuse_outdated(entry, verdict, site, task)
    return newest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
