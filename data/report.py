"""What became of the rows of one import."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SoundReport:
    """What became of the recordings of one import."""

    recordings: int
    """Files that were read."""
    hours: float
    """Of the rows that were kept."""
    new_clips: int
    new_bytes: int
    """Of sound that was not stored before."""
    without_transcript: int
    """Recordings that no row is about: counted, not imported."""
    other_kinds: dict[str, int]
    """Recordings that are not what their names say; the content decided."""

    def __str__(self) -> str:
        other = "".join(f", {count} × {kind}" for kind, count in self.other_kinds.items())
        return (
            f"{self.recordings} recordings read, {self.hours:.2f} h kept; {self.new_clips} new clips, "
            f"{self.new_bytes / 1e6:,.1f} MB; {self.without_transcript} recordings without a transcript{other}"
        )


@dataclass(frozen=True)
class ImportReport:
    """What became of the rows of one import."""

    task: str
    snapshot: str
    rows_in: int
    kept: int
    quarantined: int
    new: int
    updated: int
    """Same id, other content: they supersede what was there."""
    unchanged: int
    rows: int
    """In the whole snapshot, as are `splits` and the clusters."""
    splits: dict[str, int]
    clusters: int
    largest_cluster: int
    reasons: dict[str, int]
    quarantine: str | None
    contract: str
    """The validation report, an HTML page."""
    sound: SoundReport | None = None
    """For tasks about sound."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        sides = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        lines = [
            f"{self.task}: snapshot {self.snapshot[:12]}, {self.rows} rows ({sides})",
            f"  rows in     {self.rows_in} = {self.kept} kept + {self.quarantined} quarantined",
            f"  kept        {self.new} new, {self.updated} updated, {self.unchanged} unchanged",
            f"  clusters    {self.clusters}, the largest of {self.largest_cluster} near-duplicate rows",
            *([f"  sound       {self.sound}"] if self.sound else []),
            *(f"  quarantine  {count} × {reason}" for reason, count in self.reasons.items()),
            *([f"  quarantine  {self.quarantine}"] if self.quarantine else []),
            f"  contract    {self.contract}",
        ]
        return "\n".join(lines)
