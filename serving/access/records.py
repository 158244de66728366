"""What the register of access keys records. Fields are added, never changed, and what is added has a default."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from hotline.records import Digest
from hotline.task import Name

Role = Literal["call", "metrics", "admin"]
Priority = Literal["live", "bulk"]
KeyId = Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
Count = Annotated[int, Field(ge=1)]


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    site: Name
    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))


class Issued(Entry):
    """A key was made. Its secret is nowhere: `hash` is SHA-256 of what the caller sends."""

    kind: Literal["issued"] = "issued"
    id: KeyId
    name: Name
    """What the operator calls it; written to no log."""
    hash: Digest
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """None: every task of the site."""
    priority: Priority = "live"
    per_minute: Count | None = None
    per_day: Count | None = None
    concurrency: Count | None = None
    expires: AwareDatetime


class Revoked(Entry):
    """From now on that key is refused."""

    kind: Literal["revoked"] = "revoked"
    id: KeyId
    reason: str


class Exported(Entry):
    """Captured calls of that task were decrypted and written out, so many of them."""

    kind: Literal["exported"] = "exported"
    task: Name
    calls: Annotated[int, Field(ge=0)]


AnyEntry = Issued | Revoked | Exported
ADAPTER: TypeAdapter[AnyEntry] = TypeAdapter(Annotated[AnyEntry, Field(discriminator="kind")])
