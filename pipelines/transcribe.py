"""Recordings through an endpoint, as an operator reads them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines import output
from pipelines.predict import address


def transcribe_files(files: Sequence[Path], url: str | None = None, quiet: bool = False) -> list[dict[str, Any]]:
    """For each file, in order, `file` and the body of its answer or its error; shown as they come unless `quiet`.

    Raises UnavailableError without an endpoint.
    """
    from serving.client import transcribe

    heard = []
    for file, answer in zip(files, transcribe(url or address(), files), strict=True):
        heard.append({"file": str(file), **answer})
        if not quiet:
            show(heard[-1])
    return heard


def show(heard: dict[str, Any]) -> None:
    """One file's transcript; what went wrong with it goes to stderr."""
    if "error" in heard:
        error = heard["error"]
        found = f": {error['found']}" if error.get("found") else ""
        print(f"{heard['file']}: {error['message']}{found}", file=sys.stderr)
        return
    answer = heard["answer"]
    output.note(f"{heard['file']}  {answer['dialect']}  confidence {heard['confidence']:.2f}", "bold")
    several = len({segment["channel"] for segment in answer["segments"]}) > 1
    for segment in answer["segments"]:
        channel = f"  channel {segment['channel']}" if several else ""
        print(f"  {_clock(segment['start_seconds'])} – {_clock(segment['end_seconds'])}{channel}  {segment['text']}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:02.0f}:{rest:04.1f}"
