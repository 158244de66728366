"""Part (d) of bench/serve.py: one converted classifier, its graph run in process and by a tritonserver."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import serving_site
import torch

from hotline.errors import UnavailableError
from hotline.families import classifier
from hotline.families.classifier_options import ClassifierOptions
from hotline.families.graphs import GRAPH_FILE
from hotline.labels import LabelTree
from hotline.task import Input
from hotline.tasks import find
from serving.engines.engine import EngineName
from serving.replica import Options
from serving.run import start
from training.export import write_graph

TASK = find("ticket_category")
CHARACTERS = list(map(chr, range(0x4E00, 0x4E00 + 2000)))
LEAVES = [f"部门{n // 10}/事项{n}" for n in range(200)]
TEXTS = 4000
CALLERS = (1, 16)
ENGINES: tuple[EngineName, ...] = ("in process", "triton")
PORT = 8393


class Seen(NamedTuple):
    """What one run saw."""

    per_second: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Plan:
    """How much is asked."""

    calls: int
    repeats: int
    threads: int


def texts(count: int, seed: int) -> list[str]:
    """Of 20 to 200 characters."""
    draw = np.random.default_rng(seed)
    return ["".join(draw.choice(CHARACTERS, int(20 * 10 ** draw.random()))) for _ in range(count)]


def model() -> classifier.Classifier:
    """A classifier of 200 leaves with features of random texts; what it says is arbitrary, what it costs is not."""
    torch.manual_seed(0)
    targets = [TASK.target.model_validate({"label": LEAVES[n % len(LEAVES)]}) for n in range(TEXTS)]
    options = ClassifierOptions.model_validate({"encoder": "ngrams", "minimum_texts": 1})
    return classifier.create(options, TASK, LabelTree.of(LEAVES), questions(texts(TEXTS, 0)), targets).eval()


def questions(given: Sequence[str]) -> list[Input]:
    return [TASK.input.model_validate({"text": text}) for text in given]


async def load(url: str, callers: int, calls: int, seed: int) -> Seen:
    """That many calls, `callers` at a time."""
    waiting, times = texts(calls, seed), list[float]()

    async def caller(client: httpx.AsyncClient) -> None:
        while waiting:
            begun = time.perf_counter()
            reply = await client.post(f"/v1/tasks/{TASK.name}", json={"text": waiting.pop()})
            reply.raise_for_status()
            times.append(time.perf_counter() - begun)

    limits, begun = httpx.Limits(max_connections=callers), time.perf_counter()
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as client:
        await asyncio.gather(*(caller(client) for _ in range(callers)))
    p50, p95 = (float(np.quantile(times, share)) * 1000 for share in (0.5, 0.95))
    return Seen(calls / (time.perf_counter() - begun), p50, p95)


def run(plan: Plan) -> dict[tuple[str, int], Seen] | str:
    """The medians by engine and callers, or why there is no tritonserver."""
    place = Path(tempfile.mkdtemp(prefix="bench-triton-"))
    try:
        here, made = serving_site.make(place / "site"), model()

        def add_graph(folder: Path) -> None:
            write_graph(classifier, made, questions(texts(4, 1)), folder / GRAPH_FILE)

        serving_site.promote(here, made, "tickets", TASK, add=add_graph)
        found: dict[tuple[str, int], Seen] = {}
        for name in ENGINES:
            found |= _engine(here, name, plan)
        return found
    except UnavailableError as error:
        return " ".join(str(error).split())
    finally:
        shutil.rmtree(place)


def _engine(here: Any, name: EngineName, plan: Plan) -> dict[tuple[str, int], Seen]:
    running = start(here, PORT, Options(threads=plan.threads, engines={TASK.name: name}))
    try:
        asyncio.run(load(running.url, max(CALLERS), 100, 2))  # first-time costs
        seen: dict[tuple[str, int], Seen] = {}
        for callers in CALLERS:
            runs = [asyncio.run(load(running.url, callers, plan.calls, 10 + n)) for n in range(plan.repeats)]
            seen[name, callers] = Seen(*(statistics.median(column) for column in zip(*runs, strict=True)))
            print(name, callers, seen[name, callers], file=sys.stderr)
        return seen
    finally:
        running.stop()
