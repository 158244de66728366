"""Who agreed that a verdict entitles to a promotion: as many people as the site's policy asks for, each by signature.

One person counts once, whatever keys they hold; neither the gate that reached the verdict nor the operator who
promotes counts.
"""

from __future__ import annotations

from hotline.chain import Chain, Champion, Entry
from hotline.errors import RefusedError
from hotline.policy import SitePolicy
from hotline.records import Promotion, Verdict


def counted(chain: Chain, verdict: Entry, promoter: str | None) -> list[Entry]:
    """The approvals of that verdict that count, oldest first; `promoter` is the promoting operator's public key."""
    keys = {verdict.public_key, *([promoter] if promoter else [])}
    names = {chain.name_of(key) for key in keys}
    found: list[Entry] = []
    for entry in chain.approvals(verdict):
        name = chain.who(entry)
        if entry.public_key not in keys and name not in names:
            found.append(entry)
            names.add(name)
            keys.add(entry.public_key)
    return found


def refuse_missing(chain: Chain, site: SitePolicy, verdict: Entry, promoter: str | None) -> list[Entry]:
    """The approvals that count. Raises RefusedError with what is missing when the policy asks for more."""
    found = counted(chain, verdict, promoter)
    if len(found) < site.approvals:
        given = chain.approvals(verdict)
        uncounted = [_said(chain, entry) for entry in given if entry not in found]
        raise RefusedError(
            f"the verdict on {_name(verdict)} lacks {_people(site.approvals - len(found))}",
            where=f"ledger entry {verdict.seq}",
            found=(", ".join(_said(chain, entry) for entry in found) or "no approval that counts")
            + (f"; of the operator, the gate or the same person: {', '.join(uncounted)}" if uncounted else ""),
            expected=f"approvals: {site.approvals} (policy/site.yaml), by others than the gate and the operator",
            next=f"hotline approve {_name(verdict)} --task {verdict.record.task} --key NAME --reason WHY",
        )
    return found


def of_champion(chain: Chain, site: SitePolicy, champion: Champion, verdict: Entry) -> list[Entry]:
    """The approvals that a champion stands on; a rollback needs no others than its target had. Raises RefusedError."""
    promoter = champion.entry.public_key if isinstance(champion.record, Promotion) else None
    return refuse_missing(chain, site, verdict, promoter)


def _said(chain: Chain, entry: Entry) -> str:
    return f"{chain.who(entry)} (entry {entry.seq})"


def _people(count: int) -> str:
    return "one approval" if count == 1 else f"{count} approvals"


def _name(verdict: Entry) -> str:
    record = verdict.record
    return f"{record.model.line}@{record.model.version}" if isinstance(record, Verdict) else f"entry {verdict.seq}"
