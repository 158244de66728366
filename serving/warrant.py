"""What entitles a version to answer: its entry in the verified ledger, the passed verdict behind it, and approvals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hotline import approvals
from hotline.errors import RefusedError
from hotline.ledger import Chain, Champion, Entry, Ledger
from hotline.policy import SitePolicy
from hotline.records import ModelAddress, Promotion, Rollback, Verdict
from hotline.requests import DIGEST_CHARACTERS
from hotline.settings import Settings
from hotline.tasks import find
from serving.routes import Route


@dataclass(frozen=True)
class Warrant:
    """The entry that makes a version champion, and the verdict it names."""

    champion: Champion
    verdict: Verdict
    engine: str = "in process"

    @property
    def model(self) -> ModelAddress:
        return self.champion.record.model

    @property
    def app(self) -> str:
        """The name of the Ray Serve application that answers with these bytes."""
        return f"{self.champion.record.task}-{self.model.digest[:DIGEST_CHARACTERS]}"

    def route(self, engine: str | None = None) -> Route:
        """`engine` is what the site has it run by, where that is not what the record says."""
        record = self.champion.record
        return Route(
            task=record.task,
            line=self.model.line,
            version=self.model.version,
            digest=self.model.digest,
            verdict=record.verdict,
            promotion=self.champion.entry.seq,
            promoted=record.time,
            profile=self.verdict.profile,
            outcome=self.verdict.outcome,
            site=record.site,
            engine=engine or self.engine,
            app=self.app,
        )


def ledger(settings: Settings) -> Ledger:
    """The site's ledger, opened with public keys only."""
    return Ledger.of(settings)


def examine(chain: Chain, site: SitePolicy, task: str, entry: Entry | None) -> Warrant:
    """The warrant that `entry` gives for `task`. Raises RefusedError when it or its verdict does not hold,
    or approvals are missing."""
    record = None if entry is None else entry.record
    if entry is None or not isinstance(record, Promotion | Rollback) or record.task != task:
        raise RefusedError(
            f"nothing in the ledger makes this version the champion of {task}",
            found=record.kind if record else "no entry",
            expected="a promotion or a rollback",
            next=f"hotline promote {task}",
        )
    _refuse_out_of_turn(chain, site, entry, record)
    found = chain.verdict(record.verdict)
    verdict = found[1] if found else None
    where = f"ledger entry {entry.seq}: {record.model.line}@{record.model.version}"
    again = f"hotline judge {record.model.line}, then hotline promote {task}"
    if found is None or verdict is None or verdict.task != task or verdict.model != record.model:
        raise RefusedError(
            f"{task}: the champion stands on no verdict about its bytes", where=where, found=record.verdict, next=again
        )
    if verdict.outcome != "passed":
        raise RefusedError(
            f"{task}: the champion's verdict did not pass",
            where=where,
            found=verdict.outcome,
            expected="passed",
            next=again,
        )
    if verdict.profile != site.profile:
        raise RefusedError(
            f"{task}: this site serves {site.profile} verdicts only",
            where=where,
            found=f"a {verdict.profile} verdict",
            expected=f"profile {site.profile} (policy/site.yaml)",
            next=again,
        )
    champion = Champion(entry, record)
    approvals.of_champion(chain, site, champion, found[0])
    writes = (verdict.evidence.lineage.family or find(task).family) == "writer"
    return Warrant(champion, verdict, "upstream" if writes and site.upstream_of(task) else record.engine)


def _refuse_out_of_turn(chain: Chain, site: SitePolicy, entry: Entry, record: Promotion | Rollback) -> None:
    """Raises RefusedError for a rollback to what never answered, and for a promotion after the policy had expired."""
    earlier = [champion for champion in chain.history(record.task) if champion.entry.seq < entry.seq]
    if isinstance(record, Rollback) and record.model not in [champion.record.model for champion in earlier]:
        raise RefusedError(
            f"{record.task}: a rollback names a version that was never its champion",
            where=f"ledger entry {entry.seq}",
            found=f"{record.model.line}@{record.model.version}",
            expected="a champion before this one",
            next=f"hotline history {record.task}",
        )
    day = datetime.fromisoformat(record.time).astimezone(UTC).date()
    if isinstance(record, Promotion) and site.valid_until and day > site.valid_until:
        raise RefusedError(
            f"{record.task}: the promotion was signed after the site's policy had expired",
            where=f"ledger entry {entry.seq}",
            found=record.time,
            expected=f"until {site.valid_until} (valid_until in policy/site.yaml)",
            next="have policy/site.yaml reviewed and valid_until renewed, then start serving again",
        )
