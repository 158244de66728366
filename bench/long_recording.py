"""A long recording against its clips: what stretching and stitching cost in characters.

    python bench/long_recording.py --workspace workspace [--minutes 20] [--pause 0.5] [--url http://127.0.0.1:8000]

Test clips of the workspace's transcription corpus are joined, with pauses, into one recording; the endpoint (running:
`hotline serve`) hears the recording and every clip alone. Prints both error rates and as last line one JSON object:
`segments`, `clips`, `long_cer`, `short_cer`, `difference` (share of characters) and `times_real_time`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from data.store import open_snapshot
from hotline import settings
from hotline.audio import Audio
from hotline.spoken_scores import cer
from hotline.task import Answer
from hotline.tasks import find
from pipelines.demo_speech import wav

TASK = find("transcription")
SEED = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds of silence between two clips")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    given = parser.parse_args()
    rows = open_snapshot(settings.load(given.workspace), TASK).rows("test")
    chosen, sound = joined([getattr(each, "audio") for each in rows.inputs], given.minutes, given.pause)  # noqa: B009
    started = time.perf_counter()
    long = heard(given.url, sound)
    seconds = time.perf_counter() - started
    short = [heard(given.url, getattr(rows.inputs[n], "audio"))["text"] for n in chosen]  # noqa: B009
    said = "".join(getattr(rows.targets[n], "text") for n in chosen)  # noqa: B009
    figures = {
        "segments": len(long["segments"]),
        "clips": len(chosen),
        "long_cer": rate(said, long["text"]),
        "short_cer": rate(said, "".join(short)),
        "times_real_time": sound.seconds / seconds,
    }
    figures["difference"] = figures["long_cer"] - figures["short_cer"]
    table = Table(title=f"{sound.seconds / 60:.1f} minutes in one recording")
    for name in ("", "pieces", "CER"):
        table.add_column(name)
    table.add_row("clips, one by one", str(len(chosen)), f"{figures['short_cer']:.4f}")
    table.add_row("one recording", f"{figures['segments']} segments", f"{figures['long_cer']:.4f}")
    Console().print(table)
    print(json.dumps({name: round(float(value), 4) for name, value in figures.items()}))


def joined(sounds: list[Audio], minutes: float, pause: float) -> tuple[list[int], Audio]:
    """Numbers of the clips that fill the minutes, in random order, and their sound with pauses between."""
    rate_hz = sounds[0].sample_rate_hz
    silence = np.zeros(int(pause * rate_hz), dtype=np.int16)
    chosen: list[int] = []
    parts: list[np.ndarray] = []
    for number in np.random.default_rng(SEED).permutation(len(sounds)).tolist():
        if sum(map(len, parts)) > minutes * 60 * rate_hz:
            break
        chosen.append(number)
        parts += [np.asarray(sounds[number].samples), silence]
    return chosen, Audio(np.concatenate(parts), rate_hz)


def heard(url: str, sound: Audio) -> dict[str, object]:
    """The endpoint's answer to a recording."""
    reply = httpx.post(f"{url}/v1/tasks/{TASK.name}", files={"file": ("call.wav", wav(sound))}, timeout=600)
    reply.raise_for_status()
    answer: dict[str, object] = reply.json()["answer"]
    return answer


def rate(said: str, understood: object) -> float:
    """CER of one text."""
    target, answer = (TASK.target.model_validate({"text": str(text)}) for text in (said, understood))
    return cer([target], [Answer(target=answer, confidence=1.0)])


if __name__ == "__main__":
    main()
