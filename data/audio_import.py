"""Recordings to drafts: read, decoded, cut, checked and staged in a stream, every file once, on two threads."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from data import audio_checks, recordings, transcripts
from data import clips as stretches
from data.audio_shards import Staging
from data.clips import Clip
from data.drafts import Draft, Drafter, Sound
from data.report import SoundReport
from hotline import audio_kinds, digests
from hotline.audio import Audio
from hotline.audio_files import Limits, decode
from hotline.errors import InputError
from hotline.task import Task

THREADS = 2
_WAITING = 3
"""Decoded recordings that may wait for their turn: memory does not depend on how many files there are."""
_TOLERANCE_SECONDS = 0.2
"""Segment times of other tools end this much after the last sample at most."""
T = TypeVar("T")
R = TypeVar("R")


class Track(Protocol):
    """Shows how far an iteration is."""

    def __call__(self, items: Iterable[Any], total: int, what: str) -> Iterable[Any]: ...


@dataclass
class Tally:
    """What an import met beside its rows."""

    recordings: int = 0
    without_transcript: int = 0
    other_kinds: Counter[str] = field(default_factory=Counter)
    """Recordings whose content is not what their name says; the content decided."""


@dataclass(frozen=True)
class _Heard:
    """One recording, its clips cut out of it."""

    file: str
    sha256: str
    kind: str
    sounds: list[tuple[Clip, Sound]]


class Reader:
    """Reads the deliveries of one import. Its drafts hold digests; the sound goes to the staging."""

    def __init__(self, task: Task, drafter: Drafter, staging: Staging, track: Track) -> None:
        self.task, self.drafter, self.staging, self.track = task, drafter, staging, track
        self.mapping = drafter.mapping
        self.tally = Tally()
        bounds = self.mapping.recordings.checks
        self.limits, self.bounds = Limits(seconds=bounds.max_seconds), bounds

    def read(self, path: Path) -> tuple[str, str, list[Draft]]:
        """Name and digest of a delivery, and its drafts in the order of its rows.

        The digest covers every file that was read. Raises InputError when the delivery cannot be read.
        """
        delivery = recordings.open_delivery(path)
        elsewhere = self.mapping.recordings.sound
        sound = recordings.open_delivery(self.mapping.path.parent / elsewhere) if elsewhere else delivery
        found = transcripts.read(delivery, sound, self.mapping)
        finder = recordings.Finder(sound)
        rows = stretches.clips(self.task, self.mapping, found, finder)
        files = {found.table: digests.of_value(found.rows)} if found.table else {}
        numbered = list(self._drafts(delivery.name, sound, rows, files))
        self.tally.without_transcript += len(set(finder.clips) - {clip.file for clip in rows})
        drafts = [draft for _, draft in sorted(numbered, key=lambda pair: pair[0])]
        return delivery.name, digests.merkle_root(files), drafts

    def _drafts(
        self, name: str, sound: recordings.Delivery, rows: Sequence[Clip], files: dict[str, str]
    ) -> Iterator[tuple[tuple[int, int], Draft]]:
        """Drafts with their place among the rows, as recordings are read; `files` gets the digest of each."""
        by_file: dict[str, list[Clip]] = defaultdict(list)
        place = {id(clip): (clip.number, n) for n, clip in enumerate(rows)}
        for clip in rows:
            if clip.reasons:
                yield place[id(clip)], self._draft(name, clip, Sound(clip.recording, reasons=tuple(clip.reasons)))
            else:
                by_file[clip.file].append(clip)

        def heard_of(item: tuple[str, list[Clip]]) -> _Heard:
            return hear(sound, *item, self.limits, self.bounds)

        heard = in_order(heard_of, by_file.items())
        for one in self.track(heard, len(by_file), f"reading {name}"):
            files[one.file] = one.sha256
            self._count(one)
            for clip, said in one.sounds:
                yield place[id(clip)], self._draft(name, clip, said)

    def _count(self, one: _Heard) -> None:
        self.tally.recordings += 1
        if one.kind and not audio_kinds.fits(one.file, one.kind):
            self.tally.other_kinds[f"{one.kind} in {PurePosixPath(one.file).suffix} files"] += 1

    def _draft(self, name: str, clip: Clip, sound: Sound) -> Draft:
        draft = self.drafter.draft(name, clip.number, clip.cells, sound)
        if sound.audio and not draft.reasons:
            if not draft.target.get("text", "a text"):
                draft.reasons.append("target.text: a clip without a transcript (the cell is empty)")
            else:
                self.staging.add(sound.audio)
        for part in (draft.input, draft.target, draft.provenance):
            part.clear()  # what is stored is in `values`: a draft waits for the last recording, and is small
        return draft

    def judge(self, drafts: Sequence[Draft]) -> None:
        """What only all rows together show: rates out of the ordinary, and one sound with two transcripts."""
        good = [draft for draft in drafts if not draft.reasons]
        spoken = [
            audio_checks.Spoken(draft.values["provenance.language"], draft.values["target.text"], draft.seconds)
            for draft in good
        ]
        for draft, reason in zip(good, audio_checks.rate_reasons(spoken, self.bounds), strict=True):
            draft.reasons += [reason] if reason else []
        self._refuse_contradictions([draft for draft in good if not draft.reasons])

    def report(self, kept: Iterable[Draft]) -> SoundReport:
        return SoundReport(
            recordings=self.tally.recordings,
            hours=sum(draft.seconds for draft in kept) / 3600,
            new_clips=self.staging.clips,
            new_bytes=self.staging.bytes,
            without_transcript=self.tally.without_transcript,
            other_kinds=dict(self.tally.other_kinds.most_common()),
        )

    def _refuse_contradictions(self, drafts: Iterable[Draft]) -> None:
        same = defaultdict(list)
        for draft in drafts:
            same[draft.values[f"input.{self.task.audio_field}"]].append(draft)
        for twins in same.values():
            if len({draft.values["target.text"] for draft in twins}) > 1:
                rows = ", ".join(f"{draft.number} of {draft.file}" for draft in twins[:3])
                for draft in twins:
                    draft.reasons.append(f"target.text: two transcripts for one sound (rows {rows})")


def in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `function` gives for every item, in their order, a few ahead on THREADS threads."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= _WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def hear(
    delivery: recordings.Delivery, file: str, clips: Sequence[Clip], limits: Limits, bounds: audio_checks.Bounds
) -> _Heard:
    """One file, decoded once; each of its clips cut out, checked and digested."""
    sha256 = kind = ""
    try:
        content = delivery.read(file)
        sha256, kind = hashlib.sha256(content).hexdigest(), audio_kinds.kind(content)
        channels = decode(content, file, limits)
    except InputError as error:
        return _Heard(file, sha256, kind, [(clip, Sound(clip.recording, reasons=(_words(error),))) for clip in clips])
    return _Heard(file, sha256, kind, [(clip, _cut(clip, channels, bounds)) for clip in clips])


def _words(error: InputError) -> str:
    """An error as a reason: what first, so that like reasons count together."""
    found = f"{error.found}; expected {error.expected}" if error.expected else error.found
    return f"input.audio: {error.what}" + (f" ({found})" if found else "")


def _cut(clip: Clip, channels: Sequence[Audio], bounds: audio_checks.Bounds) -> Sound:
    """The clip's own channel and stretch, or why it cannot be had."""
    number = clip.channel
    if number is None and len(channels) > 1 and channels[0] != channels[1]:
        return _none(clip, f"{len(channels)} channels and one transcript without its channel (name its column)")
    if (number or 0) >= len(channels):
        return _none(clip, f"no such channel in the file (channel {number}; it has {len(channels)})")
    audio = channels[number or 0]
    if clip.start_seconds is not None and clip.end_seconds is not None:
        if clip.end_seconds > audio.seconds + _TOLERANCE_SECONDS:
            times = f"{clip.end_seconds} s of {audio.seconds:.2f} s"
            return _none(clip, f"a stretch that ends after the recording ({times})")
        rate = audio.sample_rate_hz
        audio = audio.cut(round(clip.start_seconds * rate), round(clip.end_seconds * rate))
    wrong = audio_checks.reasons(audio_checks.measure(audio), bounds)
    if not wrong:
        audio.digest  # noqa: B018  computed here, on this thread, and kept
    return Sound(clip.recording, audio=None if wrong else audio, reasons=tuple(wrong))


def _none(clip: Clip, why: str) -> Sound:
    return Sound(clip.recording, reasons=(f"input.audio: {why}",))
