"""How a delivery of recordings is read: where the transcripts are, which cells name clips, times and channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.audio_checks import Bounds

Format = Literal["auto", "table", "names", "kaldi", "wenet", "funasr"]
NAME_COLUMNS = ("file", "stem", "folder")
"""What every recording's path gives, beside the groups of `names`."""
CHANNELS = {"0": 0, "1": 1, "left": 0, "right": 1, "l": 0, "r": 1, "a": 0, "b": 1}


class Recordings(BaseModel):
    """`recordings:` in a mapping. Columns that it names are columns of the transcripts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format = "auto"
    table: str | None = None
    """The file with the transcripts in the delivery, where there are several."""
    sound: Path | None = None
    """Another folder or zip that the recordings lie in, relative to the mapping."""
    names: str | None = None
    """A regular expression over a recording's name without its suffix; its named groups are columns."""
    optional: tuple[str, ...] = ()
    """Columns that a delivery may lack."""
    start: str | None = None
    end: str | None = None
    """Seconds in the recording; both or neither."""
    channel: str | None = None
    """0, 1, left, right, A, B, or one of `roles`."""
    roles: dict[str, Annotated[int, Field(ge=0)]] = {}
    channel_texts: tuple[str, ...] = ()
    """One column of transcripts per channel, in their order: a row becomes one for each that is filled."""
    checks: Bounds = Bounds()

    @field_validator("names")
    @classmethod
    def _an_expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(re.compile(self.names).groupindex) if self.names else ()

    def own_columns(self) -> tuple[str, ...]:
        """The columns that this section names."""
        return tuple(name for name in (self.start, self.end, self.channel, *self.channel_texts) if name)

    def channel_of(self, cell: str) -> int | None:
        """The number of a channel. Raises ValueError for a cell that names none."""
        if not cell:
            return None
        roles = {role.lower(): number for role, number in self.roles.items()}
        try:
            return {**CHANNELS, **roles}[cell.lower()]
        except KeyError:
            raise ValueError("one of " + ", ".join([*roles, *CHANNELS])) from None
