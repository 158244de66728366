"""Transcription and the gateway: what batching gains, what is lost on the way to the bare model, what a call costs.

    python bench/serve_speech.py --workspace workspace [--clips 192] [--concurrency 32] [--threads 1] [--repeats 3]

Endpoints of the workspace's champions are started; clips of its test split go to `/v1/tasks/transcription` one by one,
and `--concurrency` at a time. The bare model answers the same clips in this process, sorted by length, in batches as
large as a replica's. `gateway_p50_ms` is the median time of a ticket over HTTP at concurrency 1, less that of the
replica's own work on it here: prepare, forward, decode and the answer as plain values. Figures are medians of the runs,
which take turns; p50, p95 and p99 are of single calls. The last line is one JSON object: `asr_batching`, `asr_of_bare`,
`gateway_p50_ms`, and clips a second.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from data.store import open_snapshot
from hotline import families, policy, settings
from hotline.audio import Audio
from hotline.ledger import Ledger
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find
from serving.replica import Options, places, plain
from serving.run import start

SPEECH, TICKETS = find("transcription"), find("ticket_category")
TICKET_CALLS = 300
WARM_CALLS = 40


class Run(NamedTuple):
    """How long all of it took, and each call."""

    seconds: float
    calls: list[float]


def bytes_of(sound: Audio) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


async def over_http(url: str, path: str, sent: Sequence[dict[str, Any]], concurrency: int) -> Run:
    """Every body once, so many at a time."""
    remaining, times = iter(sent), list[float]()
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120, trust_env=False) as client:

        async def caller() -> None:
            for body in remaining:
                begun = time.perf_counter()
                (await client.post(path, **body)).raise_for_status()
                times.append(time.perf_counter() - begun)

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        return Run(time.perf_counter() - started, times)


def loaded(here: Settings, task: Task) -> tuple[Any, Any]:
    """Family and model of the task's champion."""
    ledger = Ledger(here.ledger_url, policy.load(here.workspace).site, policy.load_signers(here.workspace))
    champion = ledger.read().champion(task.name)
    assert champion, f"no champion for {task.name}: make demo"
    family = families.find(task.family)
    return family, family.load(here.verified / champion.record.model.digest, task)


def perfect(inputs: Sequence[Any], options: Options) -> list[list[Any]]:
    """The inputs by length, in batches as large as a replica takes."""
    batches: list[list[Any]] = [[]]
    for each in sorted(inputs, key=families.size):
        if batches[-1] and places([*batches[-1], each], options.batch_rows, options.batch_seconds) > options.batch_rows:
            batches.append([])
        batches[-1].append(each)
    return batches


def bare(family: Any, model: Any, batches: Sequence[Sequence[Any]]) -> Run:
    started, times = time.perf_counter(), list[float]()
    for batch in batches:
        begun = time.perf_counter()
        for answer in families.answer(family, model, batch, len(batch)):
            plain(answer)
        times.append(time.perf_counter() - begun)
    return Run(time.perf_counter() - started, times)


def median(runs: Sequence[Run]) -> Run:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def speech(url: str, here: Settings, arguments: argparse.Namespace, options: Options) -> dict[str, Run]:
    """The median run of each way to have the clips heard."""
    rows = open_snapshot(here, SPEECH).rows("test")
    chosen = np.random.default_rng(0).permutation(len(rows.inputs))[: arguments.clips]
    inputs = [rows.inputs[number] for number in chosen]
    sent = [{"files": {"file": ("call.wav", bytes_of(getattr(each, "audio")))}} for each in inputs]  # noqa: B009
    family, model = loaded(here, SPEECH)
    batches, path = perfect(inputs, options), f"/v1/tasks/{SPEECH.name}"
    ways: dict[str, Callable[[], Run]] = {
        "one by one": lambda: asyncio.run(over_http(url, path, sent, 1)),
        f"{arguments.concurrency} at a time": lambda: asyncio.run(over_http(url, path, sent, arguments.concurrency)),
        "bare model": lambda: bare(family, model, batches),
    }
    asyncio.run(over_http(url, path, sent[:WARM_CALLS], 8))
    bare(family, model, batches[:2])
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            found[name].append(way())
    return {name: median(runs) for name, runs in found.items()}


def gateway(url: str, here: Settings, repeats: int) -> tuple[Run, Run]:
    """Tickets over HTTP one by one, and by the replica's work alone."""
    rows = open_snapshot(here, TICKETS).rows("test")
    inputs = rows.inputs[:TICKET_CALLS]
    sent = [{"json": each.model_dump()} for each in inputs]
    family, model = loaded(here, TICKETS)
    alone = [[each] for each in inputs]
    path = f"/v1/tasks/{TICKETS.name}"
    asyncio.run(over_http(url, path, sent[:WARM_CALLS], 1))
    bare(family, model, alone[:WARM_CALLS])
    served = [asyncio.run(over_http(url, path, sent, 1)) for _ in range(repeats)]
    return median(served), median([bare(family, model, alone) for _ in range(repeats)])


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Both tables, and their figures."""
    import torch

    torch.set_num_threads(arguments.threads)
    here, options = settings.load(arguments.workspace), Options(threads=arguments.threads)
    live = start(here, arguments.port, options)
    try:
        heard = speech(live.url, here, arguments, options)
        served, alone = gateway(live.url, here, arguments.repeats)
    finally:
        live.stop()
    table = Table("way", "clips/s", "p50, ms", "p95, ms", "p99, ms")
    for name, one in {**heard, "ticket over HTTP": served, "ticket, bare": alone}.items():
        count = arguments.clips if name in heard else len(served.calls)
        at = (f"{1000 * float(np.quantile(one.calls, q)):.1f}" for q in (0.5, 0.95, 0.99))
        table.add_row(name, f"{count / one.seconds:.1f}", *at)
    console.print(table)
    single, together, model = (one.seconds for one in heard.values())
    return {
        "asr_batching": single / together,
        "asr_of_bare": model / together,
        "gateway_p50_ms": 1000 * float(np.median(served.calls) - np.median(alone.calls)),
        "clips_per_second": arguments.clips / together,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--clips", type=int, default=192)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--port", type=int, default=8765)
    figures = run(parser.parse_args(), Console())
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
