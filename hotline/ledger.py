"""The ledger: an append-only, signed chain of verdicts, approvals, promotions and rollbacks; one chain per site.

SQLite on a laptop, PostgreSQL for a team. There is one writer at a time: `prev_hash` is unique, so of two appends on
the same head one wins and the other reads the new head and decides again. The ledger decides; an MLflow alias only
mirrors it. How long it was at least, its exported heads say (`hotline.heads`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.exc import IntegrityError as Conflict
from sqlalchemy.schema import CreateTable

from hotline import digests, heads, keys, policy
from hotline.chain import GENESIS, Chain, Champion, Entry
from hotline.errors import IntegrityError, RefusedError, UnavailableError
from hotline.policy import Signers
from hotline.records import ROLE_OF, AnyRecord
from hotline.settings import Settings

__all__ = ["GENESIS", "Chain", "Champion", "Entry", "Ledger"]

APPEND_TRIES = 20
CONNECT_SECONDS = 5
log = logging.getLogger(__name__)

_METADATA = sql.MetaData()
_ENTRIES = sql.Table(
    "ledger",
    _METADATA,
    sql.Column("seq", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("prev_hash", sql.String(64), nullable=False, unique=True),
    sql.Column("hash", sql.String(64), nullable=False, unique=True),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("public_key", sql.String(64), nullable=False),
    sql.Column("signature", sql.String(128), nullable=False),
)


def _ways(url: str) -> dict[str, Any]:
    """How to connect: a server that came back is noticed, and one that cannot be reached holds nobody up for long."""
    if url.startswith("sqlite"):  # a file needs no pool of connections, and one that outlives a fork would corrupt it
        return {"poolclass": sql.NullPool}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_SECONDS}}


def _hash(seq: int, prev_hash: str, body: str, public_key: str) -> str:
    return digests.of_value([seq, prev_hash, body, public_key])


class Ledger:
    """Reads and appends. Reading needs public keys only.

    The chain must have the entry that each of `exported` names; what is appended is exported to the first of them.
    """

    def __init__(self, url: str, site: str, signers: Signers, exported: tuple[Path, ...] = ()) -> None:
        self.url, self.site, self.signers, self.exported = url, site, signers, exported
        self._verified: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Ledger:
        """The workspace's ledger, with the site and the signers of its policy. Raises PolicyError."""
        site, signers = policy.load(settings.workspace), policy.load_signers(settings.workspace)
        return cls(settings.ledger_url, site.site, signers, (settings.ledger_head, settings.followed_head))

    @cached_property
    def _engine(self) -> sql.Engine:
        try:
            engine = sql.create_engine(self.url, **_ways(self.url))
        except (ArgumentError, ModuleNotFoundError) as error:
            raise UnavailableError(
                "the ledger's address cannot be used", where="HOTLINE_LEDGER_URL", found=error, next="hotline doctor"
            ) from error
        try:
            with engine.begin() as connection:
                connection.execute(CreateTable(_ENTRIES, if_not_exists=True))
        except SQLAlchemyError as error:
            raise UnavailableError(
                "the ledger cannot be opened", where=engine.url.render_as_string(), found=error, next="hotline doctor"
            ) from error
        return engine

    def read(self) -> Chain:
        """The whole chain, verified. Raises IntegrityError naming the entry that does not verify.

        Entries that this process verified before and that read the same again are not checked twice.
        """
        try:
            with self._engine.connect() as connection:
                rows = connection.execute(sql.select(_ENTRIES).order_by(_ENTRIES.c.seq)).all()
        except SQLAlchemyError as error:
            raise UnavailableError("the ledger does not answer", found=error, next="hotline doctor") from error
        entries = tuple(Entry(*row) for row in rows)
        known = self._verified
        start = len(known) if entries[: len(known)] == known else 0
        previous = entries[start - 1].hash if start else GENESIS
        for number, entry in enumerate(entries[start:], start=start + 1):
            self._check(entry, number, previous)
            previous = entry.hash
        if len(entries) < len(known):
            raise self._broken(len(entries) + 1, "the ledger is shorter than when it was last read")
        if not start and known:  # every entry verifies, but they are not those that were there before
            changed = next(number for number, old in enumerate(known) if entries[number] != old)
            raise self._broken(changed + 1, "the ledger was written anew since it was last read")
        for path in self.exported:
            heads.check(path, [entry.hash for entry in entries])
        self._verified = entries
        return Chain(entries, self.signers)

    def append(self, decide: Callable[[Chain], AnyRecord], key: keys.SigningKey) -> Entry:
        """Append what `decide` makes of the current chain; called again when another writer was faster.

        Raises whatever `decide` raises, RefusedError when the key may not sign the record, UnavailableError when
        the head moved too often.
        """
        for _ in range(APPEND_TRIES):
            chain = self.read()
            record = decide(chain)
            self._may_write(key.public, record)
            seq, body = len(chain.entries) + 1, digests.canonical_json(record.model_dump(mode="json"))
            hash = _hash(seq, chain.head, body, key.public)
            entry = Entry(seq, chain.head, hash, body, key.public, key.sign(hash))
            try:
                with self._engine.begin() as connection:
                    connection.execute(_ENTRIES.insert().values(**asdict(entry)))
            except Conflict:
                continue
            except SQLAlchemyError as error:
                raise UnavailableError("the ledger refused the entry", found=error, next="hotline doctor") from error
            self._export(entry)
            return entry
        raise UnavailableError(
            "the ledger's head moved with every try", found=f"{APPEND_TRIES} tries", next="try again"
        )

    def adopt(self, chain: Chain) -> None:
        """Make this empty ledger a copy of that chain. Raises UnavailableError when it is not empty."""
        try:
            with self._engine.begin() as connection:
                for entry in chain.entries:
                    connection.execute(_ENTRIES.insert().values(**asdict(entry)))
        except SQLAlchemyError as error:
            raise UnavailableError("the ledger refused the entries", found=error, next="use an empty one") from error
        self.read()

    def _export(self, entry: Entry) -> None:
        """The entry stands, whether or not its export can be written."""
        for path in self.exported[:1]:
            try:
                heads.export(path, entry.seq, entry.hash)
            except OSError as error:
                log.warning("the ledger has it, but %s is not written; next: hotline verify --repair\n%s", path, error)

    def check_signer(self, public_key: str, kind: str) -> None:
        """Raises RefusedError when policy/signers.yaml does not let this key sign records of that kind."""
        signer, role = self.signers.with_key(public_key), ROLE_OF[kind]
        if signer is None or role not in signer.roles:
            raise RefusedError(
                f"this key may not sign {'an' if kind[0] in 'aeiou' else 'a'} {kind}",
                where="policy/signers.yaml",
                found=f"{public_key[:16]}… with roles {', '.join(signer.roles) if signer else 'none'}",
                expected=f"a signer with the role {role}",
                next="have the key added to policy/signers.yaml by review",
            )

    def _may_write(self, public_key: str, record: AnyRecord) -> None:
        self.check_signer(public_key, record.kind)
        if record.site != self.site:
            raise RefusedError(
                "the record is for another site",
                found=record.site,
                expected=self.site,
                next="set HOTLINE_LEDGER_URL to this site's own ledger",
            )

    def _check(self, entry: Entry, number: int, previous: str) -> None:
        if entry.seq != number or entry.prev_hash != previous:
            raise self._broken(number, "the chain is broken: an entry is missing or out of order")
        if _hash(entry.seq, entry.prev_hash, entry.body, entry.public_key) != entry.hash:
            raise self._broken(number, "the entry was edited: its hash does not fit its content")
        if not keys.valid(entry.public_key, entry.hash, entry.signature):
            raise self._broken(number, "the entry was edited: its signature does not fit")
        try:
            self._may_write(entry.public_key, entry.record)
        except (RefusedError, ValueError) as error:
            raise self._broken(number, f"the entry was not signed by somebody who may: {error}") from error

    def _broken(self, number: int, what: str) -> IntegrityError:
        return IntegrityError(
            f"ledger entry {number}: {what}",
            where=self._engine.url.render_as_string(),  # without the password
            next="restore the ledger from a backup; nothing is served on it",
        )
