"""Request ids that explain themselves: task, version digest, ledger entry and time, readable without any database."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from hotline.errors import InputError

DIGEST_CHARACTERS = 12
MAX_CHARACTERS = 300
_STAMP = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_FORM = re.compile(
    rf"(?P<task>[a-z][a-z0-9_]*)\.(?P<digest>[0-9a-f]{{{DIGEST_CHARACTERS}}})"
    rf"\.(?P<promotion>[1-9][0-9]{{0,17}})\.(?P<stamp>{_STAMP})",
    re.ASCII,
)


@dataclass(frozen=True)
class RequestId:
    """What an id says: `digest` is the first 12 characters of the version's, `promotion` the ledger entry's number."""

    task: str
    digest: str
    promotion: int
    stamp: UUID

    @property
    def time(self) -> datetime:
        """When the request came in: UTC, to the millisecond."""
        return datetime.fromtimestamp((self.stamp.int >> 80) / 1000, tz=UTC)

    def __str__(self) -> str:
        return f"{self.task}.{self.digest}.{self.promotion}.{self.stamp}"


def stamp() -> UUID:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits; sorts by time."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0b11 << 62) | 0b10 << 62)


def make(task: str, digest: str, promotion_seq: int, at: UUID | None = None) -> str:
    """The id of an answer by the version with `digest`, promoted by entry `promotion_seq`; `at` is its stamp.

    Letters, digits, dots, hyphens and underscores only: safe in headers, addresses and file names.
    """
    return str(RequestId(task, digest[:DIGEST_CHARACTERS], promotion_seq, at or stamp()))


def parse(request_id: str) -> RequestId:
    """What the id says. Raises InputError for text that no endpoint gave out."""
    match = _FORM.fullmatch(request_id.strip()) if len(request_id) <= MAX_CHARACTERS else None
    if match is None:
        raise InputError(
            "this is not the request id of an answer",
            found=repr(request_id[:60]),
            expected="task.digest.entry.uuid",
            next="copy `id` from an answer, or its X-Request-Id header",
        )
    return RequestId(match["task"], match["digest"], int(match["promotion"]), UUID(match["stamp"]))
