"""The versioned registry of dialect tags: a tag names a language, a dialect and a region; `unknown` is a tag."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

UNKNOWN = "unknown"


class Dialect(BaseModel):
    """One entry; `language` is an ISO 639-3 code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tag: str
    language: str
    dialect: str
    region: str
    zh: str


class DialectRegistry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    dialects: tuple[Dialect, ...]


@cache
def registry() -> DialectRegistry:
    """The registry that ships with this version; tags are added, never renamed or removed."""
    text = (Path(__file__).parent / "dialects.yaml").read_text(encoding="utf-8")
    return DialectRegistry.model_validate(yaml.safe_load(text))


@cache
def tags() -> frozenset[str]:
    return frozenset(entry.tag for entry in registry().dialects)


@cache
def language(tag: str) -> str | None:
    """ISO 639-3 code of a tag's language; None for `unknown` and for what is no tag."""
    return next((entry.language for entry in registry().dialects if entry.tag == tag != UNKNOWN), None)


def check_tag(tag: str) -> str:
    """The tag itself. Raises ValueError for one that is not in the registry."""
    if tag not in tags():
        raise ValueError(
            f"dialect tag {tag!r} is not in version {registry().version} of the registry; `hotline dialects` lists it"
        )
    return tag
