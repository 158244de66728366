"""What an answer takes, beside what it says."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Cost(BaseModel):
    """What answering one row took, on the machine that answered it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Annotated[float, Field(ge=0)]
    audio_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Length of the recording; 0 without one."""
    memory_gib: Annotated[float, Field(ge=0)]
    gpu_memory_gib: Annotated[float, Field(ge=0)] = 0.0
