"""The site's policy: `policy/site.yaml` and `policy/signers.yaml`, reviewed like code. No flag overrides it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hotline import digests
from hotline.errors import PolicyError
from hotline.task import Name, Profile
from hotline.text import TextPolicy

Role = Literal["gate", "operator"]
Model = TypeVar("Model", bound=BaseModel)


class Limits(BaseModel):
    """What one request may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_bytes: Annotated[int, Field(gt=0)] = 256 * 1024
    queue: Annotated[int, Field(gt=0)] = 512
    """Requests that may wait at one endpoint; more are answered 503."""
    audio_bytes: Annotated[int, Field(gt=0)] = 64 * 1024**2
    """Of a request with a recording."""
    audio_seconds: Annotated[float, Field(gt=0)] = 4 * 3600.0


class SitePolicy(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    site: Name
    profile: Profile
    limits: Limits = Limits()
    text: TextPolicy = TextPolicy()
    """How transcripts are written in answers."""

    @property
    def digest(self) -> str:
        return digests.of_value(self.model_dump(mode="json"))


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

    def with_key(self, public_key: str) -> Signer | None:
        return next((signer for signer in self.signers if signer.public_key == public_key), None)


def load(workspace: Path) -> SitePolicy:
    """The policy of the workspace. Raises PolicyError with every problem found."""
    return _parse(SitePolicy, workspace / "policy" / "site.yaml")


def load_signers(workspace: Path) -> Signers:
    """Who may sign what. Raises PolicyError with every problem found."""
    return _parse(Signers, workspace / "policy" / "signers.yaml")


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
