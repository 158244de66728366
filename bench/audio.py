"""How fast recordings are imported, and in how much memory: 1,000 and 10,000 generated clips.

    python bench/audio.py [--clips 1000 10000]

Clips are noise-modulated tones of 2–6 seconds: µ-law wav at 8 kHz, wav at 16 and 48 kHz, flac at 22.05 kHz, ogg (opus
at 48 kHz, vorbis at 44.1 kHz). Each import is `hotline import transcription` in a process of its own. `reading` is
decoding, resampling, checks, drafts and the shards on disk; `whole` adds splits, the contract and the snapshot, and
starts after the libraries are imported. Memory is the process's peak. Last line JSON: times real time (reading, of
the largest import), and GiB by number of clips.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

KINDS = (
    ("wav", "WAV", "ULAW", 8_000),
    ("ogg", "OGG", "OPUS", 48_000),
    ("wav", "WAV", "PCM_16", 48_000),
    ("ogg", "OGG", "VORBIS", 44_100),
    ("wav", "WAV", "PCM_16", 16_000),
    ("flac", "FLAC", "PCM_16", 22_050),
)
MAPPING = """
columns: {id: id, input.audio: file, target.text: text, provenance.caller_id: speaker}
recordings: {table: calls.csv}
"""
TEXT = "路燈壞了請派人來看一看"
WORKERS = 2


def sound(number: int, rate: int) -> np.ndarray:
    """A tone that comes and goes with noise, another one for every number."""
    draw = np.random.default_rng(number)
    length = int(draw.uniform(2, 6) * rate)
    time_T = np.arange(length) / rate
    swell_T = np.interp(time_T, np.linspace(0, length / rate, 24), draw.uniform(0, 1, 24) ** 2)
    noise_T = draw.standard_normal(length, dtype=np.float32)
    return (0.4 * swell_T * np.sin(2 * np.pi * draw.uniform(150, 900) * time_T) + 0.004 * noise_T).astype(np.float32)


def write(folder: Path, number: int) -> tuple[str, float]:
    """One clip: its file and its seconds."""
    suffix, form, subtype, rate = KINDS[number % len(KINDS)]
    samples_T = sound(number, rate)
    file = f"{number:05d}.{suffix}"
    soundfile.write(folder / file, samples_T, rate, format=form, subtype=subtype)
    return file, len(samples_T) / rate


def deliver(folder: Path, clips: int) -> float:
    """A folder of clips with their table; hours of sound."""
    folder.mkdir()
    with ProcessPoolExecutor(WORKERS) as pool:
        written = list(pool.map(write, [folder] * clips, range(clips), chunksize=50))
    with (folder / "calls.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("id", "file", "text", "speaker"))
        table.writerows((f"c{n}", file, TEXT, f"s{n // 5}") for n, (file, _) in enumerate(written))
    return sum(seconds for _, seconds in written) / 3600


def import_here(folder: Path) -> None:
    """One import in this process, its figures as JSON on stdout."""
    import great_expectations  # noqa: F401  what is measured is the import, not Python's

    from data import mapping
    from data.ingest import import_table
    from hotline.settings import Settings
    from hotline.tasks import find

    place = folder / "workspace"
    (place / "policy").mkdir(parents=True)
    (place / "policy" / "site.yaml").write_text("schema_version: 1\nsite: bench\nprofile: demo\n")
    (place / "mapping.yaml").write_text(MAPPING)
    settings = Settings(workspace=place, tracking_uri="unused", ledger_url="unused", keys=place / "keys")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stages = [time.perf_counter()]
    report = import_table(
        settings,
        find("transcription"),
        mapping.load(place / "mapping.yaml"),
        [folder / "clips"],
        progress=lambda stage: stages.append(time.perf_counter()),
    )
    done = time.perf_counter()
    figures = {"reading": stages[2] - stages[1], "whole": done - stages[0], "kept": report.kept, "before": before}
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({**figures, "peak": used.ru_maxrss, "cpu": used.ru_utime + used.ru_stime}))


def measure(clips: int) -> dict[str, float]:
    """The figures of one import of that many clips, in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        hours = deliver(Path(scratch) / "clips", clips)
        command = [sys.executable, __file__, "--here", scratch]
        path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        figures = json.loads(done.stdout.splitlines()[-1])
    return {"clips": clips, "hours": hours, **figures, "gib": figures["peak"] / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.here:
        import_here(chosen.here)
        return
    shown = Table("clips", "kept", "hours", "reading, s", "whole, s", "CPU, s", "× real time", "whole, ×", "peak GiB")
    found = [measure(clips) for clips in chosen.clips]
    for one in found:
        seconds = one["hours"] * 3600
        figures = (one["hours"], one["reading"], one["whole"], one["cpu"])
        speed = (seconds / one["reading"], seconds / one["whole"])
        row = [f"{one['clips']:,}", f"{one['kept']:,}", *(f"{value:.2f}" for value in figures)]
        shown.add_row(*row, *(f"{value:.0f}" for value in speed), f"{one['gib']:.3f}")
    Console(width=120).print(shown)
    last = {"times_real_time": round(found[-1]["hours"] * 3600 / found[-1]["reading"], 1)}
    print(json.dumps(last | {f"gib_{one['clips']}": round(one["gib"], 3) for one in found}))


if __name__ == "__main__":
    main()
