"""A verdict with everything that stands around it in the ledger and the policy: what cards and certificates say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from hotline import approvals, policy
from hotline.errors import RefusedError
from hotline.ledger import Entry, Ledger
from hotline.policy import Signers, SitePolicy
from hotline.records import Figure, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.task import Bar, Task


@dataclass(frozen=True)
class Signature:
    """Who signed an entry of the ledger, when, and why."""

    name: str
    time: str
    reason: str
    seq: int


@dataclass(frozen=True)
class Judged:
    """The newest verdict on a version for a task."""

    task: Task
    site: SitePolicy
    entry: Entry
    verdict: Verdict
    gate: str
    """Whose key signed the verdict."""
    approvals: tuple[Signature, ...]
    """Of this very verdict, as far as they count: not the gate's, nor the operator's who promoted it."""
    promotion: Signature | None
    """The newest promotion of this version, or rollback to it."""
    champion: bool
    """Whether the version answers the task now."""
    head: str

    @property
    def name(self) -> str:
        return f"{self.verdict.model.line}@{self.verdict.model.version}"

    @property
    def valid_until(self) -> date | None:
        """The last day, in UTC, on which the verdict entitles to a promotion; None: without end."""
        days = self.site.verdict_days
        last = _day(self.verdict.time) + timedelta(days) if days is not None else None
        return min((end for end in (self.site.valid_until, last) if end is not None), default=None)

    @property
    def missing_approvals(self) -> int:
        """How many more people must approve this verdict before the site's policy lets it be promoted."""
        return max(0, self.site.approvals - len(self.approvals))

    @property
    def whole(self) -> list[Figure]:
        """The figures over all test rows."""
        return [figure for figure in self.verdict.figures if figure.slice is None]

    def bar(self, words: str) -> Bar | None:
        """The declared bar that a finding names; None when it was declared otherwise since."""
        return next((bar for bar in self.task.bars.get(self.verdict.profile, ()) if bar.words() == words), None)

    def slices(self) -> dict[str, list[Figure]]:
        """Column → one figure per value, whatever the score: how many rows and callers each has."""
        first = next(iter(self.task.scores))
        found: dict[str, list[Figure]] = {}
        for figure in self.verdict.figures:
            if figure.slice is not None and figure.score == first:
                found.setdefault(figure.slice, []).append(figure)
        return found


def find(settings: Settings, task: Task, address: ModelAddress) -> Judged:
    """The newest verdict on that version, from a chain that was verified. Raises RefusedError when there is none."""
    site, signers = policy.load(settings.workspace), policy.load_signers(settings.workspace)
    chain = Ledger.of(settings).read()
    newest = next(iter(chain.verdicts(task.name, address.digest)), None)
    if newest is None:
        raise RefusedError(
            f"no verdict on {address.line}@{address.version} for {task.name}", next=f"hotline judge {address.line}"
        )
    entry, verdict = newest
    champion = chain.champion(task.name)
    decisions = [each for each in chain.history(task.name) if each.record.model.digest == address.digest]
    latest = decisions[0].entry if decisions else None
    promoter = latest.public_key if latest else None
    return Judged(
        task=task,
        site=site,
        entry=entry,
        verdict=verdict,
        gate=_name(signers, entry),
        approvals=tuple(_signature(each, signers) for each in approvals.counted(chain, entry, promoter)),
        promotion=_signature(latest, signers) if latest else None,
        champion=champion is not None and champion.record.model.digest == address.digest,
        head=chain.head,
    )


def _signature(entry: Entry, signers: Signers) -> Signature:
    record = entry.record
    if isinstance(record, Verdict):
        raise TypeError(f"ledger entry {entry.seq} is a verdict")
    return Signature(_name(signers, entry), record.time, record.reason, entry.seq)


def _name(signers: Signers, entry: Entry) -> str:
    signer = signers.with_key(entry.public_key)
    return signer.name if signer else entry.public_key[:16]


def _day(time: str) -> date:
    return datetime.fromisoformat(time).astimezone(UTC).date()
