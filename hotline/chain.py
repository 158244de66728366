"""The ledger's entries in order, and what they say: who answers, on which verdict, by whose signature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hotline.policy import Signers
from hotline.records import ADAPTER, AnyRecord, Approval, Promotion, Rollback, Trial, Verdict

GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One link: `hash` covers seq, prev_hash, body and public_key; the signature covers the hash."""

    seq: int
    prev_hash: str
    hash: str
    body: str
    public_key: str
    signature: str

    @cached_property
    def record(self) -> AnyRecord:
        return ADAPTER.validate_json(self.body)


@dataclass(frozen=True)
class Champion:
    """The version that answers a task, and the entry that says so."""

    entry: Entry
    record: Promotion | Rollback


@dataclass(frozen=True)
class Challenger:
    """The version that is tried beside a champion, and the entry that says so."""

    entry: Entry
    record: Trial


class Chain:
    """The entries from genesis to head; every query is answered from verified entries only."""

    def __init__(self, entries: tuple[Entry, ...], signers: Signers | None = None) -> None:
        self.entries, self._signers = entries, signers

    def who(self, entry: Entry) -> str:
        """The name of whoever signed the entry, as policy/signers.yaml has it."""
        return self.name_of(entry.public_key)

    def name_of(self, public_key: str) -> str:
        """Whose key that is; the beginning of the key when nobody's."""
        signer = self._signers.with_key(public_key) if self._signers else None
        return signer.name if signer else f"{public_key[:16]}…"

    @property
    def head(self) -> str:
        return self.entries[-1].hash if self.entries else GENESIS

    def by_hash(self, hash: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.hash == hash), None)

    def by_seq(self, seq: int) -> Entry | None:
        return self.entries[seq - 1] if 0 < seq <= len(self.entries) else None

    def champion(self, task: str) -> Champion | None:
        """Who answers `task` now, or None."""
        return next(iter(self.history(task)), None)

    def history(self, task: str) -> list[Champion]:
        """Promotions and rollbacks of `task`, newest first."""
        return [
            Champion(entry, entry.record)
            for entry in reversed(self.entries)
            if isinstance(entry.record, Promotion | Rollback) and entry.record.task == task
        ]

    def previous(self, task: str) -> Champion | None:
        """The champion that a rollback brings back, or None: promotions put one on the pile, rollbacks take one off."""
        pile: list[Champion] = []
        for champion in reversed(self.history(task)):
            if isinstance(champion.record, Rollback):
                del pile[-1:]
            else:
                pile.append(champion)
        return pile[-2] if len(pile) > 1 else None

    def champions(self) -> dict[str, Champion]:
        """Every task that has a champion."""
        tasks = {entry.record.task for entry in self.entries if isinstance(entry.record, Promotion | Rollback)}
        found = {task: self.champion(task) for task in sorted(tasks)}
        return {task: champion for task, champion in found.items() if champion}

    def challenger(self, task: str) -> Challenger | None:
        """The version that is tried beside the champion of `task`; a later promotion or rollback ends every trial."""
        decided = (
            entry
            for entry in reversed(self.entries)
            if isinstance(entry.record, Promotion | Rollback | Trial) and entry.record.task == task
        )
        newest = next(decided, None)
        if newest is None or not isinstance(newest.record, Trial) or newest.record.stage == "withdrawn":
            return None
        return Challenger(newest, newest.record)

    def verdicts(self, task: str, digest: str) -> list[tuple[Entry, Verdict]]:
        """Verdicts on the version with that digest, newest first."""
        return [
            (entry, entry.record)
            for entry in reversed(self.entries)
            if isinstance(entry.record, Verdict) and entry.record.task == task and entry.record.model.digest == digest
        ]

    def verdict(self, hash: str) -> tuple[Entry, Verdict] | None:
        """The verdict that a promotion or an approval names by its entry's hash; None when that is no verdict."""
        entry = self.by_hash(hash)
        return (entry, entry.record) if entry and isinstance(entry.record, Verdict) else None

    def approvals(self, verdict: Entry) -> list[Entry]:
        """The approvals of that very verdict, oldest first."""
        return [
            entry
            for entry in self.entries
            if isinstance(entry.record, Approval) and entry.record.verdict == verdict.hash
        ]

    def of_task(self, task: str) -> list[Entry]:
        """Every entry about the task, oldest first."""
        return [entry for entry in self.entries if entry.record.task == task]
