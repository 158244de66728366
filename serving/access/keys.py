"""Access keys: what a caller sends, and how it is recognised.

A secret has 256 random bits, so nobody finds it by trying: SHA-256 is as good as a slow hash, and costs microseconds
where scrypt would cost every call tens of milliseconds. Slow hashes are for what people think up.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from serving.access.records import AnyEntry, Issued, Revoked

PREFIX = "hl"
SECRET_BYTES = 32
MAX_CHARACTERS = 100
_NOBODY = "0" * 64


def make() -> tuple[str, str, str]:
    """A new key: its id, what the caller sends, and the hash that is kept."""
    name = secrets.token_hex(6)
    sent = f"{PREFIX}_{name}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return name, sent, hash_of(sent)


def hash_of(sent: str) -> str:
    return hashlib.sha256(sent.encode()).hexdigest()


class Keys:
    """The keys of one site as one state of the register has them."""

    def __init__(self, entries: Iterable[AnyEntry] = ()) -> None:
        self.issued: dict[str, Issued] = {}
        self.revoked: dict[str, Revoked] = {}
        for entry in entries:
            if isinstance(entry, Issued):
                self.issued[entry.id] = entry
            elif isinstance(entry, Revoked):
                self.revoked[entry.id] = entry

    def named(self, sent: str) -> str:
        """The id of the key that `sent` claims to be; "" for one that was never issued here."""
        parts = sent.split("_", 2)
        return parts[1] if len(parts) == 3 and parts[0] == PREFIX and parts[1] in self.issued else ""

    def holder(self, sent: str) -> Issued | None:
        """The key, expired and revoked ones too; None unless every character is right, found out in constant time."""
        key = self.issued.get(self.named(sent))
        same = hmac.compare_digest(hash_of(sent), key.hash if key else _NOBODY)
        return key if same else None

    def ended(self, key: Issued, now: datetime | None = None) -> str | None:
        """Why the key holds no more; None while it does."""
        if key.id in self.revoked:
            return "the access key was revoked"
        return "the access key has expired" if key.expires <= (now or datetime.now(UTC)) else None
