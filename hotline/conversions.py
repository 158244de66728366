"""How a version was made from another one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Conversion(BaseModel):
    """A version that is another one's weights: by other means, or over other entries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Digest of the version that was converted."""
    name: str
    """Its line and version."""
    to: Literal["onnx", "entries"]
    """What computes it now, or what was put in place of the entries it was trained with: the tree among its files."""
    exporter: dict[str, str]
    """The libraries that converted it, and their versions."""
