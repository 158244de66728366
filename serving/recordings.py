"""Recordings of any length through a version: decoded, cut at pauses, answered stretch by stretch, stitched together.

A clip of one channel that is no longer than the clips a version was judged on goes to it whole, as the gate judged it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from hotline import audio_files, text, voice_activity
from hotline.audio import Audio
from hotline.policy import SitePolicy
from hotline.task import Task
from hotline.wishes import NOTHING, Wish
from serving.routes import Route
from serving.stitching import Piece, Written, stitch
from serving.switchboard import DEADLINE_SECONDS, Switchboard

STRETCHES_AT_ONCE = 16
"""Of one recording; the others wait, so that short calls get between them."""
QUICK_BYTES, PCM = 128 * 1024, b"\x01\x00"
"""Samples as they are, of some seconds, are read before a thread would have begun."""
LARGE_BYTES = 1024**2
LARGE_AT_ONCE = 4
"""Files over LARGE_BYTES that are worked on at once: hours of sound are hundreds of MiB when they are decoded."""
SAME_SOUND = 1e-3
"""Two channels whose difference has less than this share of the energy are one recording, stored twice."""
COMPARED_SAMPLES = 1_000_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class Recording:
    """Decoded channels, and the stretches [start, end) of each that are to be answered."""

    channels: tuple[Audio, ...]
    ranges: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def seconds(self) -> float:
        return max(channel.seconds for channel in self.channels)

    @property
    def stretches(self) -> list[tuple[int, int, int]]:
        """(channel, start, end) in order of time."""
        all_of_them = ((n, *each) for n, ranges in enumerate(self.ranges) for each in ranges)
        return sorted(all_of_them, key=lambda each: (each[1], each[0]))


class Recordings:
    """Answers recordings through a switchboard, within the site's limits and in the site's way of writing."""

    def __init__(self, site: SitePolicy, switchboard: Switchboard) -> None:
        self._switchboard = switchboard
        self._limits = audio_files.Limits(seconds=site.limits.audio_seconds, bytes=site.limits.audio_bytes)
        self._written, self._as_is = partial(text.present, policy=site.text), site.text == text.AS_IS
        self._large, self._writing = asyncio.Semaphore(LARGE_AT_ONCE), asyncio.Lock()
        self._written("一")  # its rules are loaded now, not at the first call

    async def answer(
        self, task: Task, route: Route, content: bytes, others: Mapping[str, Any]
    ) -> tuple[dict[str, Any], float]:
        """`answer`, `confidence` and `alternatives` in plain values, and the recording's length in seconds.

        `others` are the input's fields beside the recording. Raises InputError for what is no recording, TooLarge,
        UnavailableError when a stretch is not answered in time.
        """
        async with self.opened(content) as recording:
            pieces = [piece async for piece in self.pieces(task, route, recording, others)]
            said = await self.in_writing(partial(stitch, task, pieces))
        return said, recording.seconds

    @asynccontextmanager
    async def opened(self, content: bytes) -> AsyncIterator[Recording]:
        """The recording, decoded and cut. Raises InputError for what is no recording, and TooLarge."""
        if len(content) <= QUICK_BYTES and content[:4] == b"RIFF" and content[20:22] == PCM:
            yield _read(content, self._limits)
            return
        async with self._large if len(content) > LARGE_BYTES else nullcontext():
            yield await asyncio.to_thread(_read, content, self._limits)

    async def in_writing(self, make: Callable[[Written], Result]) -> Result:
        """What `make` makes with the site's way of writing."""
        if self._as_is:
            return make(self._written)
        async with self._writing:  # the libraries that write are not all thread-safe
            return await asyncio.to_thread(make, self._written)

    async def pieces(
        self,
        task: Task,
        route: Route,
        recording: Recording,
        others: Mapping[str, Any] = MappingProxyType({}),
        wish: Wish = NOTHING,
    ) -> AsyncGenerator[Piece]:
        """What is said to each stretch, in order of time, each as soon as those before it have come."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS + recording.seconds
        places = asyncio.Semaphore(STRETCHES_AT_ONCE)

        async def ask(number: int, start: int, end: int) -> Piece:
            channel = recording.channels[number]
            question = task.input.model_validate({**others, str(task.audio_field): channel.cut(start, end)})
            async with places:
                left = max(0.0, deadline - asyncio.get_running_loop().time())
                said = await self._switchboard.ask(route, question, left, wish)
            return Piece(number, start / channel.sample_rate_hz, end / channel.sample_rate_hz, said)

        calls = [asyncio.ensure_future(ask(*stretch)) for stretch in recording.stretches]
        try:
            for call in calls:
                yield await call
        finally:  # when one fails, or the caller goes away, the others are given up
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def _read(content: bytes, limits: audio_files.Limits) -> Recording:
    """Decoded and cut; what the caller named the file is not repeated in errors. Raises InputError, TooLarge."""
    channels = _distinct(audio_files.decode(content, "file", limits))
    only = len(channels) == 1
    return Recording(channels, tuple(tuple(_ranges(channel, only)) for channel in channels))


def _ranges(channel: Audio, only: bool) -> list[tuple[int, int]]:
    """A short channel whole, a long one by its stretches; of two channels one that is silent is left out."""
    whole = [(0, len(channel.samples))]
    short = channel.seconds <= voice_activity.LONGEST_SECONDS
    if short and only:
        return whole
    stretches = voice_activity.stretches(channel)
    return whole if short and stretches else stretches


def _distinct(channels: tuple[Audio, ...]) -> tuple[Audio, ...]:
    """The channels, without those that hold the sound of the first once more, as a million samples tell."""
    step = len(channels[0].samples) // COMPARED_SAMPLES + 1
    first = channels[0].samples[::step].astype(np.float32)
    energy = float(np.square(first).sum())

    def differs(other: Audio) -> bool:
        return float(np.square(other.samples[::step] - first).sum()) > SAME_SOUND * energy

    return (channels[0], *(other for other in channels[1:] if differs(other)))
