"""Segments as subtitles: SubRip and WebVTT (https://www.w3.org/TR/webvtt1/)."""

from __future__ import annotations

from collections.abc import Sequence

from serving.timed_text import TimedSegment


def srt(segments: Sequence[TimedSegment]) -> str:
    """A SubRip file."""
    cues = (
        f"{number}\n{_clock(segment.start, ',')} --> {_clock(_end(segment), ',')}\n{_line(segment.text)}\n"
        for number, segment in enumerate(segments, start=1)
    )
    return "\n".join(cues)


def vtt(segments: Sequence[TimedSegment]) -> str:
    """A WebVTT file; where several channels speak, each cue names its speaker as `speaker` does."""
    several = len({segment.channel for segment in segments}) > 1
    cues = ["WEBVTT\n"]
    for segment in segments:
        voice = f"<v {speaker(segment.channel)}>" if several else ""
        text = _line(segment.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        cues.append(f"{_clock(segment.start, '.')} --> {_clock(_end(segment), '.')}\n{voice}{text}\n")
    return "\n".join(cues)


def speaker(channel: int) -> str:
    """The name of who speaks on a channel: A, B."""
    return chr(ord("A") + channel)


def _end(segment: TimedSegment) -> float:
    return max(segment.end, segment.start + 0.001)  # a cue lasts


def _line(text: str) -> str:
    return " ".join(text.split())


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
