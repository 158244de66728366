"""Whether a verdict is new, and whether what it was reached against still stands."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from hotline.errors import RefusedError
from hotline.ledger import Chain, Entry
from hotline.policy import SitePolicy
from hotline.records import ENVIRONMENT, Verdict

log = logging.getLogger(__name__)


def standing(chain: Chain, verdict: Verdict, site: SitePolicy) -> Entry | None:
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


def current(chain: Chain, verdict: Verdict) -> Verdict:
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
