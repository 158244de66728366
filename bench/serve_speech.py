"""Parts (a) and (c) of bench/serve.py: what batching gains, what is lost on the way to the model, what a call costs.

Clips of the workspace's test split go to `/v1/tasks/transcription` one by one, and many at a time. The bare model
answers the same clips in this process, sorted by length, in batches as large as a replica's.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import httpx
import numpy as np
import psutil
import serve_writer
import soundfile

from data.store import open_snapshot
from hotline import families, memory, policy, settings
from hotline.audio import Audio
from hotline.ledger import Ledger
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find
from serving.answers import plain
from serving.replica import Options
from serving.run import start

SPEECH, TICKETS = find("transcription"), find("ticket_category")
TICKET_CALLS, CLIENT_CALLS, WARM_CALLS = 300, 640, 40
CLIENTS = (1, 4, 16, 64)
PORT = 8390


@dataclass(frozen=True)
class Plan:
    """What is served and sent."""

    workspace: Path
    clips: int
    concurrency: int
    repeats: int
    options: Options


class Run(NamedTuple):
    """How long all of it took, each call or batch, how many rows were answered, and with how much work."""

    seconds: float
    calls: list[float]
    rows: int
    processor_seconds: float = 0.0


def bytes_of(sound: Audio) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


async def over_http(url: str, path: str, sent: Sequence[dict[str, Any]], concurrency: int) -> Run:
    """Every body once, so many at a time, by a client that is cheap: it has its bodies ready, and shares the cores."""
    bodies = [httpx.Request("POST", url, **body) for body in sent]
    remaining = iter([(each.read(), {"content-type": each.headers["content-type"]}) for each in bodies])
    times = list[float]()
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(120)) as client:

        async def caller() -> None:
            for body, headers in remaining:
                begun = time.perf_counter()
                async with client.post(path, data=body, headers=headers, raise_for_status=True) as response:
                    await response.read()
                times.append(time.perf_counter() - begun)

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        return Run(time.perf_counter() - started, times, len(times))


def loaded(here: Settings, task: Task) -> tuple[Any, Any]:
    """Family and model of the task's champion."""
    ledger = Ledger(here.ledger_url, policy.load(here.workspace).site, policy.load_signers(here.workspace))
    champion = ledger.read().champion(task.name)
    assert champion, f"no champion for {task.name}: make demo"
    return families.load(here.verified / champion.record.model.digest, task)


def perfect(inputs: Sequence[Any], options: Options) -> list[list[Any]]:
    """The inputs by length, in batches as large as a replica takes."""
    batches: list[list[Any]] = [[]]
    for each in sorted(inputs, key=families.size):
        if batches[-1] and not options.fits(len(batches[-1]) + 1, families.size(each)):
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
    return Run(time.perf_counter() - started, times, sum(map(len, batches)))


def heard(url: str, here: Settings, inputs: Sequence[Any], plan: Any) -> dict[str, Run]:
    """The median run of each way to have the clips heard: one by one, `concurrency` at a time, by the bare model."""
    sent = [{"files": {"file": ("call.wav", bytes_of(each.audio))}} for each in inputs]
    memory.keep_freed()  # as a replica's process does
    family, model = loaded(here, SPEECH)
    batches, path = perfect(inputs, plan.options), f"/v1/tasks/{SPEECH.name}"
    ways: dict[str, Callable[[], Run]] = {
        "clips, one by one": lambda: asyncio.run(over_http(url, path, sent, 1)),
        f"clips, {plan.concurrency} at a time": lambda: asyncio.run(over_http(url, path, sent, plan.concurrency)),
        "clips, bare model": lambda: bare(family, model, batches),
    }
    for way in ways.values():
        way()  # every new size of batch costs once
    return _in_turns(ways, plan.repeats)


def speech(url: str, here: Settings, plan: Plan) -> dict[str, Run]:
    """Clips of the workspace's test split."""
    rows = open_snapshot(here, SPEECH).rows("test")
    chosen = np.random.default_rng(0).permutation(len(rows.inputs))[: plan.clips]
    return heard(url, here, [rows.inputs[number] for number in chosen], plan)


def gateway(url: str, here: Settings, plan: Plan) -> dict[str, Run]:
    """Tickets over HTTP one by one, and by the replica's work alone."""
    inputs = open_snapshot(here, TICKETS).rows("test").inputs[:TICKET_CALLS]
    sent, path = [{"json": each.model_dump()} for each in inputs], f"/v1/tasks/{TICKETS.name}"
    family, model = loaded(here, TICKETS)
    alone = [[each] for each in inputs]
    asyncio.run(over_http(url, path, sent[:WARM_CALLS], 1))
    bare(family, model, alone[:WARM_CALLS])
    ways: dict[str, Callable[[], Run]] = {
        "tickets, one by one": lambda: asyncio.run(over_http(url, path, sent, 1)),
        "tickets, bare model": lambda: bare(family, model, alone),
    }
    return _in_turns(ways, plan.repeats)


def clients(url: str, here: Settings, plan: Plan) -> dict[str, Run]:
    """Tickets from 1 to 64 clients at once: what a call costs must not grow with them."""
    inputs = open_snapshot(here, TICKETS).rows("test").inputs
    sent = [{"json": inputs[n % len(inputs)].model_dump()} for n in range(CLIENT_CALLS)]
    path = f"/v1/tasks/{TICKETS.name}"
    ways = {f"tickets, {n} clients": partial(_gathered, url, path, sent, n) for n in CLIENTS}
    return _in_turns(ways, plan.repeats)


def _gathered(url: str, path: str, sent: Sequence[dict[str, Any]], concurrency: int) -> Run:
    before = _processor_seconds()
    made = asyncio.run(over_http(url, path, sent, concurrency))
    return made._replace(processor_seconds=_processor_seconds() - before)


def _processor_seconds() -> float:
    """Of all processes that serve, which are this one's children, and of the client."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(times.user + times.system for times in (each.cpu_times() for each in family))


def _in_turns(ways: Mapping[str, Callable[[], Run]], repeats: int) -> dict[str, Run]:
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            found[name].append(way())
    return {name: sorted(runs, key=lambda run: run.seconds)[len(runs) // 2] for name, runs in found.items()}


def run(plan: Plan) -> tuple[dict[str, Run], dict[str, float]]:
    """The median runs by name, and the figures."""
    import torch

    torch.set_num_threads(plan.options.threads)
    here = settings.load(plan.workspace)
    live = start(here, PORT, plan.options)
    try:
        clips, alone = speech(live.url, here, plan), gateway(live.url, here, plan)
        many = clients(live.url, here, plan)
        memory = serve_writer.memory(psutil.Process())
    finally:
        live.stop()
    single, together, model = (one.seconds for one in clips.values())
    served, bared = (float(np.median(one.calls)) for one in alone.values())
    one, *_, most = (each.processor_seconds for each in many.values())
    figures = {
        "demo_asr_batching": single / together,
        "demo_asr_of_bare": model / together,
        "clips_per_second": plan.clips / together,
        "gateway_p50_ms": 1000 * (served - bared),
        "cost_of_64_clients": most / one,
        "memory_mib": memory,
    }
    return clips | alone | many, figures
