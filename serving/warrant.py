"""What entitles a version to answer, or to be tried: its entry in the verified ledger, its verdict, approvals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hotline import approvals, digests
from hotline.chain import Chain, Challenger, Champion, Entry
from hotline.errors import RefusedError
from hotline.ledger import Ledger
from hotline.policy import SitePolicy
from hotline.records import ModelAddress, Outcome, Promotion, Rollback, Trial, Verdict
from hotline.requests import DIGEST_CHARACTERS
from hotline.settings import Settings
from hotline.tasks import find
from serving.routes import Route


@dataclass(frozen=True)
class Warrant:
    """The entry that makes a version champion, or has it tried beside one, and the verdict it names."""

    champion: Champion | Challenger
    verdict: Verdict
    engine: str = "in process"

    @property
    def task(self) -> str:
        return self.champion.record.task

    @property
    def model(self) -> ModelAddress:
        return self.champion.record.model

    @property
    def app(self) -> str:
        """The name of the Ray Serve application that answers with these bytes, at this site and no other."""
        record = self.champion.record
        return f"{record.task}-{self.model.digest[:DIGEST_CHARACTERS]}-{digests.of_text(record.site)[:8]}"

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
    if entry and isinstance(record, Trial) and record.task == task and record.stage != "withdrawn":
        return _tried(chain, site, entry, record)
    if entry is None or not isinstance(record, Promotion | Rollback) or record.task != task:
        raise RefusedError(
            f"nothing in the ledger makes this version the champion of {task}",
            found=record.kind if record else "no entry",
            expected="a promotion or a rollback",
            next=f"hotline promote {task}",
        )
    _refuse_out_of_turn(chain, site, entry, record)
    judged, verdict = _verdict(chain, site, entry, record, ("passed",))
    champion = Champion(entry, record)
    approvals.of_champion(chain, site, champion, judged)
    return Warrant(champion, verdict, _engine(site, record, verdict))


def _tried(chain: Chain, site: SitePolicy, entry: Entry, record: Trial) -> Warrant:
    """The warrant of a challenger: its verdict passed, or in the shadow lacks evidence only. Raises RefusedError."""
    entitling: tuple[Outcome, ...] = ("passed", "insufficient evidence") if record.stage == "shadow" else ("passed",)
    judged, verdict = _verdict(chain, site, entry, record, entitling)
    if record.stage == "canary":
        approvals.refuse_missing(chain, site, judged, entry.public_key)
    _refuse_expired(site, entry, record)
    return Warrant(Challenger(entry, record), verdict, _engine(site, record, verdict))


def _engine(site: SitePolicy, record: Promotion | Rollback | Trial, verdict: Verdict) -> str:
    writes = (verdict.evidence.lineage.family or find(record.task).family) == "writer"
    return "upstream" if writes and site.upstream_of(record.task) else record.engine


def _verdict(
    chain: Chain, site: SitePolicy, entry: Entry, record: Promotion | Rollback | Trial, entitling: tuple[Outcome, ...]
) -> tuple[Entry, Verdict]:
    """The verdict that the entry stands on. Raises RefusedError for none, another outcome, another profile."""
    task, who = record.task, "challenger" if isinstance(record, Trial) else "champion"
    where = f"ledger entry {entry.seq}: {record.model.line}@{record.model.version}"
    again = f"hotline judge {record.model.line}, then hotline promote {task}"
    found = chain.verdict(record.verdict)
    if found is None or found[1].task != task or found[1].model != record.model:
        raise RefusedError(
            f"{task}: the {who} stands on no verdict about its bytes", where=where, found=record.verdict, next=again
        )
    verdict = found[1]
    if verdict.outcome not in entitling:
        raise RefusedError(
            f"{task}: the {who}'s verdict did not pass",
            where=where,
            found=verdict.outcome,
            expected=" or ".join(entitling),
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
    return found


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
    if isinstance(record, Promotion):
        _refuse_expired(site, entry, record)


def _refuse_expired(site: SitePolicy, entry: Entry, record: Promotion | Trial) -> None:
    """Raises RefusedError for what was signed after the policy had expired."""
    day = datetime.fromisoformat(record.time).astimezone(UTC).date()
    if site.valid_until and day > site.valid_until:
        raise RefusedError(
            f"{record.task}: the {record.kind} was signed after the site's policy had expired",
            where=f"ledger entry {entry.seq}",
            found=record.time,
            expected=f"until {site.valid_until} (valid_until in policy/site.yaml)",
            next="have policy/site.yaml reviewed and valid_until renewed, then start serving again",
        )
