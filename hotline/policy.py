"""The site's policy: `policy/site.yaml` and `policy/signers.yaml`, reviewed like code. No flag overrides it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hotline import digests
from hotline.errors import PolicyError
from hotline.rollout import Rollout
from hotline.task import Name, Profile
from hotline.text import TextPolicy
from hotline.webhooks import Webhook

Role = Literal["gate", "approver", "operator"]
Model = TypeVar("Model", bound=BaseModel)


class Limits(BaseModel):
    """What one request may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_bytes: Annotated[int, Field(gt=0)] = 256 * 1024
    queue: Annotated[int, Field(gt=0)] = 512
    """Requests that may wait at one endpoint; more are answered 429."""
    bulk_queue: Annotated[int, Field(gt=0)] = 64
    """Of those, requests that say that they are not urgent."""
    audio_bytes: Annotated[int, Field(gt=0)] = 64 * 1024**2
    """Of a request with a recording."""
    audio_seconds: Annotated[float, Field(gt=0)] = 4 * 3600.0


class Upstream(BaseModel):
    """A server that writes for versions of these tasks; we start it ourselves, from their verified files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program and its arguments; `{folder}` is the checkpoint's place, `{port}` where to listen on 127.0.0.1."""
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    start_seconds: Annotated[float, Field(gt=0)] = 600.0

    @field_validator("command")
    @classmethod
    def _has_its_places(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        lacking = [place for place in ("{folder}", "{port}") if not any(place in part for part in command)]
        if lacking:
            raise ValueError(f"the command has no {' and no '.join(lacking)}")
        return command

    def filled(self, folder: str, port: int) -> list[str]:
        """The command for that folder and port."""
        return [part.replace("{folder}", folder).replace("{port}", str(port)) for part in self.command]


class Capture(BaseModel):
    """A share of the calls is kept for replays and corrections, encrypted, for some days.

    Only the holder of the private key reads them; serving has the public one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    public_key: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="X25519, 32 bytes in hex")]
    share: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Of calls, by a hash of site and call id, so that a call is kept whole."""
    days: Annotated[int, Field(ge=1, le=366)] = 30
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """None: every task."""
    call_bytes: Annotated[int, Field(gt=0)] = 8 * 1024**2
    """A larger request or answer is not kept."""
    most_bytes: Annotated[int, Field(ge=1024**2)] = 1024**3
    """Of all that is kept; the oldest go first."""


class Watch(BaseModel):
    """What is written down of requests, beside the counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_log_days: Annotated[int, Field(ge=0, le=3650)] = 30
    """How long a line per request is kept (id, task, version, status, milliseconds); 0: none is written."""


class SitePolicy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    site: Name
    profile: Profile
    limits: Limits = Limits()
    text: TextPolicy = TextPolicy()
    """How transcripts are written in answers."""
    approvals: Literal[0, 1, 2] = 0
    """People other than the operator who must agree to what answers here, each with a signature."""
    valid_until: date | None = None
    """The last day, in UTC, on which this policy lets anybody judge, approve or promote; None: no end."""
    verdict_days: Annotated[int, Field(ge=1)] | None = None
    """For how many days a verdict entitles to a promotion; None: without end. A champion stays champion."""
    retired_slices: dict[Name, tuple[str, ...]] = {}
    """Values of slices that this hotline no longer has, by column: a test set may lack what the champion's had."""
    upstream: Upstream | None = None
    """What writes in place of our own engine; None: nothing."""
    rollout: Rollout = Rollout()
    watch: Watch = Watch()
    access: Literal["open", "required"] = "open"
    """Whether every route wants an access key. Without, nothing but this machine itself is listened to."""
    capture: Capture | None = None
    """None: nothing that callers say is kept."""
    webhooks: tuple[Webhook, ...] = ()
    """Who is told when a gate refuses, a run ends, a version falls back, or requests have moved."""

    @property
    def digest(self) -> str:
        """Of what a verdict depends on: not how versions are rolled out, who may call or is told, what is kept."""
        unsaid = {"rollout", "access", "capture", "watch", "webhooks"}
        unsaid |= {"upstream"} if self.upstream is None else set()  # a policy of before has the digest that it had
        said = self.model_dump(mode="json", exclude=unsaid)
        del said["limits"]["bulk_queue"]
        return digests.of_value(said)

    def upstream_of(self, task: str) -> Upstream | None:
        """What writes for writers of that task in place of our own engine."""
        return self.upstream if self.upstream and task in self.upstream.tasks else None

    @property
    def expired(self) -> str | None:
        """That the policy has expired, in words; None while it holds."""
        if self.valid_until is None or datetime.now(UTC).date() <= self.valid_until:
            return None
        return f"the site's policy expired: it was valid until {self.valid_until}"

    def verdict_ends(self, reached: str) -> datetime | None:
        """Until when a verdict reached then (UTC, ISO 8601) entitles to a promotion; None: without end."""
        return None if self.verdict_days is None else datetime.fromisoformat(reached) + timedelta(self.verdict_days)


class Signer(BaseModel):
    """A public key and what it may sign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    public_key: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="ed25519, 32 bytes in hex")]
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]


class Signers(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    signers: tuple[Signer, ...]

    @field_validator("signers")
    @classmethod
    def _each_key_once(cls, signers: tuple[Signer, ...]) -> tuple[Signer, ...]:
        listed = [signer.public_key for signer in signers]
        twice = sorted({key[:16] for key in listed if listed.count(key) > 1})
        if twice:
            raise ValueError(f"public keys are listed twice: {', '.join(twice)}")
        return signers

    def with_key(self, public_key: str) -> Signer | None:
        return next((signer for signer in self.signers if signer.public_key == public_key), None)


def load(workspace: Path) -> SitePolicy:
    """The policy of the workspace. Raises PolicyError with every problem found."""
    return _parse(SitePolicy, workspace / "policy" / "site.yaml")


def load_signers(workspace: Path) -> Signers:
    """Who may sign what. Raises PolicyError with every problem found."""
    return _parse(Signers, workspace / "policy" / "signers.yaml")


def refuse_expired(site: SitePolicy, what: str) -> None:
    """Raises PolicyError when the policy has expired; `what` is what somebody wants to do."""
    if site.expired:
        raise PolicyError(
            site.expired,
            where="policy/site.yaml",
            found=f"{datetime.now(UTC):%Y-%m-%d} (UTC)",
            expected=f"a policy that holds today, before anybody may {what}",
            next="have policy/site.yaml reviewed and valid_until renewed; what is served goes on meanwhile",
        )


def _parse(kind: type[Model], path: Path) -> Model:
    """A policy file as a frozen model; unknown keys are refused, so a misspelt rule cannot be silently void."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return kind.model_validate(content)
    except OSError as error:
        raise PolicyError(
            "the policy cannot be read", where=str(path), found=error.strerror, next="hotline init DIRECTORY"
        ) from error
    except (yaml.YAMLError, ValidationError) as error:
        raise PolicyError("the policy is not valid", where=str(path), found=error, next=f"edit {path}") from error
