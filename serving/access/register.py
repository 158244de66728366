"""The register of access keys: an append-only file, chained by hashes, every entry signed by an operator.

It holds no secret. Who can write the file and has no operator's key cannot add a key, nor bring a revoked one back:
entries cut off its end are missed by `access.head`, which lies in git beside ledger.head.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from hotline import digests, heads, keys, policy
from hotline.chain import GENESIS, Entry
from hotline.errors import IntegrityError, RefusedError
from hotline.policy import Signers
from hotline.settings import Settings
from serving.access.keys import Keys
from serving.access.records import ADAPTER, AnyEntry

FILE = "keys.jsonl"


class Register:
    """Reads with public keys, appends with an operator's."""

    def __init__(self, path: Path, site: str, signers: Signers, head: Path | None = None) -> None:
        self.path, self._site, self._signers, self._head = path, site, signers, head
        self._verified: tuple[Entry, ...] = ()
        self._records: tuple[AnyEntry, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Register:
        """The workspace's own. Raises PolicyError."""
        site, signers = policy.load(settings.workspace), policy.load_signers(settings.workspace)
        return cls(settings.access / FILE, site.site, signers, settings.access_head)

    def read(self) -> Keys:
        """The keys, after every entry was verified; what this process verified before is not verified twice.

        Raises IntegrityError naming the entry that does not fit, and for a file that lost entries or was written anew.
        """
        entries = self._entries()
        known = self._verified
        if entries[: len(known)] != known:
            raise self._broken(len(known), "the register is shorter than when it was last read, or was written anew")
        records, previous = list(self._records), known[-1].hash if known else GENESIS
        for number, entry in enumerate(entries[len(known) :], start=len(known) + 1):
            records.append(self._checked(entry, number, previous))
            previous = entry.hash
        self._check_head(entries)
        self._verified, self._records = entries, tuple(records)
        return Keys(self._records)

    def append(self, decide: Callable[[Keys], AnyEntry], key: keys.SigningKey) -> AnyEntry:
        """Append what `decide` makes of the keys there are. Raises what it raises, and RefusedError for a wrong key."""
        self._check_signer(key.public)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self.path.with_suffix(".lock")):
            record = decide(self.read())
            seq, previous = len(self._verified) + 1, self._verified[-1].hash if self._verified else GENESIS
            body = digests.canonical_json(record.model_dump(mode="json"))
            hash = _hash(seq, previous, body, key.public)
            entry = Entry(seq, previous, hash, body, key.public, key.sign(hash))
            self._write((*self._verified, entry))
            if self._head:
                heads.export(self._head, seq, hash)
        return record

    def _entries(self) -> tuple[Entry, ...]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return ()
        try:
            return tuple(Entry(**json.loads(line)) for line in lines)
        except (ValueError, TypeError) as error:
            raise self._broken(len(self._verified), "the register is no list of entries") from error

    def _write(self, entries: tuple[Entry, ...]) -> None:
        """Whole, and in one step: nobody reads half a line."""
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, prefix=".keys.", delete=False) as stream:
            stream.writelines(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
            stream.flush()
            os.fsync(stream.fileno())
        Path(stream.name).replace(self.path)  # such files are made with mode 0600

    def _checked(self, entry: Entry, number: int, previous: str) -> AnyEntry:
        if (entry.seq, entry.prev_hash) != (number, previous):
            raise self._broken(number, "an entry is missing or out of order")
        if _hash(entry.seq, entry.prev_hash, entry.body, entry.public_key) != entry.hash:
            raise self._broken(number, "the entry was edited: its hash does not fit its content")
        if not keys.valid(entry.public_key, entry.hash, entry.signature):
            raise self._broken(number, "the entry was edited: its signature does not fit")
        try:
            self._check_signer(entry.public_key)
            record = ADAPTER.validate_json(entry.body)
        except (RefusedError, ValidationError) as error:
            raise self._broken(number, f"the entry was not written by somebody who may: {error}") from error
        if record.site != self._site:
            raise self._broken(number, f"the entry is of another site: {record.site}")
        return record

    def _check_signer(self, public_key: str) -> None:
        signer = self._signers.with_key(public_key)
        if signer is None or "operator" not in signer.roles:
            raise RefusedError(
                "this key may not sign entries of the register of access keys",
                where="policy/signers.yaml",
                found=f"{public_key[:16]}… with roles {', '.join(signer.roles) if signer else 'none'}",
                expected="a signer with the role operator",
                next="have the key added to policy/signers.yaml by review",
            )

    def _check_head(self, entries: tuple[Entry, ...]) -> None:
        head = heads.read(self._head) if self._head else None
        if head and [entry.hash for entry in entries[head.seq - 1 : head.seq]] != [head.hash]:
            raise self._broken(head.seq, f"{self._head} says that another entry was there")

    def _broken(self, number: int, what: str) -> IntegrityError:
        return IntegrityError(
            f"register of access keys, entry {number}: {what}",
            where=str(self.path),
            next="restore the register from a backup",
        )


def _hash(seq: int, previous: str, body: str, public_key: str) -> str:
    return digests.of_value(["access", seq, previous, body, public_key])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time; the lock ends with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
