"""Who is told of events at a site: declared in its policy, with addresses and keys that lie elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hotline import settings
from hotline.errors import UnknownName

Event = Literal["gate_refused", "run_ended", "fell_back", "champion_refused", "drift", "test"]
EVENTS: tuple[Event, ...] = ("gate_refused", "run_ended", "fell_back", "champion_refused", "drift")


class Secret(BaseModel):
    """Where a secret is: in an environment variable, or in a file that only its owner reads. Never in the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("name one of env and file")
        return self

    def value(self) -> str:
        """Raises UnknownName when it is not there."""
        if self.env is not None:
            return settings.secret(self.env)
        try:
            return Path(str(self.file)).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UnknownName("the secret's file cannot be read", where=str(self.file), found=error.strerror) from error


class Webhook(BaseModel):
    """Somebody who is told of events; the address of a chat's robot is a secret, too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["wecom", "dingtalk", "feishu", "json"]
    url: Secret
    secret: Secret | None = None
    """What messages are signed with, where the robot demands it."""
    events: Annotated[tuple[Event, ...], Field(min_length=1)] = EVENTS
