"""How one version takes over from another at a site: `rollout` in `policy/site.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hotline.task import Name


class Rollout(BaseModel):
    """How one version takes over from another. It decides nothing about a verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warm_seconds: Annotated[float, Field(ge=0)] = 900.0
    """How long a version goes on answering the calls that began with it after another took its place."""
    warm_versions: Annotated[int, Field(ge=0)] = 2
    """Of one task, so many such versions at most."""
    max_errors: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Of a version's calls; beyond doubt over it, the version before answers again. So with the next ones."""
    max_slow: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Of its calls, those that take longer than `slow_seconds`."""
    slow_seconds: Annotated[float, Field(gt=0)] = 5.0
    max_disagreement: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Of the calls that two versions answered, those they answered otherwise: of all, and of every dialect."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of a text that may be written otherwise before two texts count as different answers."""
    watch_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of a new champion's calls, asked of the version before, too, while that is warm."""
    least_calls: Annotated[int, Field(ge=1)] = 20
    window_seconds: Annotated[float, Field(gt=0, le=3600)] = 300.0
    differences_days: Annotated[float, Field(ge=0)] = 30.0
    """How long the pairs of answers that differed are kept after the last one."""
    drain_then_load: tuple[Name, ...] = ()
    """Tasks of which two versions do not fit in memory: the old one ends before the new one is loaded, callers wait."""
