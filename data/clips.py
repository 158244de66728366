"""Which stretch of which recording a row is about, and why not where that cannot be said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from data import mapping as mappings
from data import privacy
from data.recordings import Finder
from data.speech_mapping import Recordings
from data.transcripts import Cells, Transcripts, from_name
from hotline.task import Task


@dataclass(slots=True)
class Clip:
    """One row of a delivery: a channel of a file, whole or from `start_seconds` to `end_seconds`."""

    number: int
    cells: Cells
    file: str = ""
    channel: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def recording(self) -> str:
        """The name of the recording, which is its call unless a column says otherwise."""
        return PurePosixPath(self.file).stem


def clips(task: Task, mapping: mappings.Mapping, transcripts: Transcripts, finder: Finder) -> list[Clip]:
    """Every row, numbered from 1 as in its table; with a reason where its clip is not to be found or is not one."""
    plan, names = mapping.recordings, mapping.columns[f"input.{task.audio_field}"]
    text = mapping.columns.get("target.text", ("text",))
    found = []
    for number, cells in enumerate(transcripts.rows, start=1):
        for row in _by_channel(cells, plan, text[0], mapping.columns.get("id", ())):
            clip = Clip(number, row)
            _find(clip, " ".join(filter(None, (row.get(name, "") for name in names))), transcripts, finder, plan)
            _cut(clip, plan)
            found.append(clip)
    _refuse_two_transcripts([clip for clip in found if not clip.reasons], text)
    for clip in found:
        clip.cells = {**dict.fromkeys(mapping.named_columns(), ""), **clip.cells}
    return found


def _by_channel(cells: Cells, plan: Recordings, text: str, ids: Sequence[str]) -> list[Cells]:
    """The row itself, or one per channel that has a transcript of its own."""
    filled = [(channel, cells[name]) for channel, name in enumerate(plan.channel_texts) if cells.get(name)]
    if not filled:
        return [cells]
    column = plan.channel or "channel number"
    return [
        {**cells, text: said, column: str(channel), **{name: f"{cells[name]}-{channel}" for name in ids}}
        for channel, said in filled
    ]


def _find(clip: Clip, cell: str, transcripts: Transcripts, finder: Finder, plan: Recordings) -> None:
    """The file, and what its name says."""
    if not cell:
        clip.reasons.append("input.audio: a transcript without a clip (the cell is empty)")
    elif cell.endswith("|"):
        clip.reasons.append(f"input.audio: a command instead of a file, which is not run ({privacy.mask(cell[:60])!r})")
    elif (file := finder.find(cell, transcripts.table)) is None:
        clip.reasons.append(
            f"input.audio: a transcript without a clip (no file, or more than one, is {privacy.mask(cell[-60:])!r})"
        )
    else:
        clip.file = file
        said, fits = from_name(file, plan)
        if not fits:
            clip.reasons.append(
                f"input.audio: the file's name does not match ({privacy.mask(clip.recording)!r}; {plan.names})"
            )
        clip.cells = {**said, **clip.cells}


def _cut(clip: Clip, plan: Recordings) -> None:
    try:
        clip.channel = plan.channel_of(clip.cells.get(plan.channel or "channel number", ""))
    except ValueError as error:
        clip.reasons.append(f"input.audio: no such channel ({clip.cells.get(plan.channel or '')!r}; {error})")
    start, end = (clip.cells.get(name, "") if name else "" for name in (plan.start, plan.end))
    if not start and not end:
        return
    try:
        clip.start_seconds, clip.end_seconds = float(start), float(end)
    except ValueError:
        clip.reasons.append(f"input.audio: times that are no numbers ({start!r} to {end!r}; seconds)")
        return
    if not 0 <= clip.start_seconds < clip.end_seconds:
        clip.reasons.append(f"input.audio: times that are no stretch ({start} to {end} s; start before end)")


def _refuse_two_transcripts(found: Sequence[Clip], text: Sequence[str]) -> None:
    """Rows about the same stretch: every one of them where they differ, the later ones where they do not."""
    same = defaultdict(list)
    for clip in found:
        same[(clip.file, clip.channel, clip.start_seconds, clip.end_seconds)].append(clip)
    for twins in same.values():
        said = {tuple(clip.cells.get(name, "") for name in text) for clip in twins}
        numbers = ", ".join(str(clip.number) for clip in twins)
        if len(said) > 1:
            for clip in twins:
                clip.reasons.append(f"target.text: {_counted(len(said))} transcripts for one clip (rows {numbers})")
        else:
            for clip in twins[1:]:
                clip.reasons.append(f"input.audio: the same clip and transcript again (rows {numbers})")


def _counted(number: int) -> str:
    return "two" if number == 2 else "several"
