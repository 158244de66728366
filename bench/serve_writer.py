"""Part (b) of bench/serve.py: a writer under many streams, beside `transformers serve` with continuous batching."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import serving_site
import torch

from hotline.families import language_models, writer
from hotline.families.writer_options import WriterOptions
from hotline.tasks import find
from serving.replica import Options
from serving.run import start

TASK = find("ticket_summary")
CHARACTERS = "".join(map(chr, range(0x4E00, 0x4E00 + 3000)))
CATEGORIES = [f"{CHARACTERS[n % 60]}{CHARACTERS[n // 60]}类" for n in range(4000)]
SCHEMA = {
    "type": "object",
    "properties": {
        "类别": {"enum": CATEGORIES},
        "地点": {"type": "string", "minLength": 8, "maxLength": 20},
        "事项": {
            "type": "array",
            "items": {"type": "string", "minLength": 4, "maxLength": 12},
            "minItems": 2,
            "maxItems": 4,
        },
        "紧急": {"type": "boolean"},
    },
    "required": ["类别", "地点", "事项", "紧急"],
    "additionalProperties": False,
}
PORT, PEER_PORT = 8391, 8392
START_SECONDS = 300


class Load(NamedTuple):
    """What one run saw."""

    tokens_per_second: float
    first_p50_ms: float
    first_p95_ms: float
    memory_mib: float


@dataclass(frozen=True)
class Plan:
    """How much is asked."""

    streams: int
    requests: int
    tokens: int
    width: int
    layers: int
    threads: int
    repeats: int


def model(plan: Plan) -> Any:
    """A Qwen3 of random weights whose tokens are single characters."""
    sizes = {"width": plan.width, "layers": plan.layers, "heads": plan.width // 64, "vocabulary": 4000}
    options = {"architecture": "scratch", **sizes, "max_tokens": 1024, "max_answer_tokens": plan.tokens}
    texts = [TASK.input.model_validate({"text": CHARACTERS})]
    torch.manual_seed(0)
    targets = [TASK.target.model_validate({"text": CHARACTERS[:100]})]
    return writer.create(WriterOptions.model_validate(options), TASK, None, texts, targets)


def prompts(count: int, run: int) -> list[str]:
    """Texts of 30 to 300 characters, more short ones; no run repeats another's, or a server's memory would answer."""
    draw = np.random.default_rng(run)
    return ["".join(draw.choice(list(CHARACTERS), int(30 * 10 ** draw.random()))) for _ in range(count)]


async def load(url: str, name: str, plan: Plan, process: psutil.Process, run: int, **fields: Any) -> Load:
    """Every request of that run once, `streams` at a time."""
    waiting = prompts(plan.requests, run)
    firsts: list[float] = []
    tokens, begun = 0, time.perf_counter()

    async def caller(client: httpx.AsyncClient) -> None:
        nonlocal tokens
        while waiting:
            first, count = await _stream(client, _body(name, waiting.pop(), plan.tokens, fields))
            firsts.append(first)
            tokens += count

    limits = httpx.Limits(max_connections=plan.streams)
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False, limits=limits) as client:
        await asyncio.gather(*(caller(client) for _ in range(plan.streams)))
    seconds = time.perf_counter() - begun
    p50, p95 = (float(np.percentile(firsts, share)) * 1000 for share in (50, 95))
    print(f"{name}: {tokens} tokens in {seconds:.1f} s", file=sys.stderr)
    return Load(tokens / seconds, p50, p95, memory(process))


def _body(name: str, text: str, tokens: int, fields: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    options = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": tokens, "temperature": 1.0}
    return {"model": name, "messages": messages, **options, **fields}


async def _stream(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[float, int]:
    """Seconds to the first text, and how many tokens the answer has."""
    begun, first, tokens = time.perf_counter(), 0.0, 0
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError((await response.aread()).decode()[:500])
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            if not first and any(each["delta"].get("content") for each in chunk.get("choices", ())):
                first = time.perf_counter() - begun
            tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
    return first or time.perf_counter() - begun, tokens


def memory(process: psutil.Process) -> float:
    """Proportional memory of a process and its children in MiB, shared pages counted once."""
    family = [process, *process.children(recursive=True)]
    return sum(each.memory_full_info().pss for each in family if each.is_running()) / 1024**2


@contextmanager
def ours(made: Any, plan: Plan) -> Iterator[str]:
    """Our endpoints with the model as champion, over Ray Serve."""
    place = Path(tempfile.mkdtemp(prefix="bench-serve-"))
    here = serving_site.make(place / "site")
    serving_site.promote(here, made, "titles", TASK)
    running = start(here, PORT, Options(threads=plan.threads))
    try:
        yield running.url
    finally:
        running.stop()
        shutil.rmtree(place)


@contextmanager
def theirs(made: Any, plan: Plan) -> Iterator[tuple[str, str, psutil.Process]]:
    """`transformers serve` with continuous batching on the same checkpoint: address, model, process."""
    place = Path(tempfile.mkdtemp(prefix="bench-peer-"))
    language_models.save_checkpoint(made.model, made.chat.tokenizer, place / "model", made.options.root)
    command = [Path(sys.executable).parent / "transformers", "serve", str(place / "model"), "--continuous-batching"]
    bounds = ["--cb-block-size", "32", "--cb-num-blocks", "1024", "--cb-max-batch-tokens", "512"]
    where = ["--device", "cpu", "--dtype", "float32", "--port", str(PEER_PORT), "--host", "127.0.0.1"]
    environment = {"OMP_NUM_THREADS": str(plan.threads), "HF_HUB_OFFLINE": "1"}
    with (place / "log.txt").open("w") as log:
        served = subprocess.Popen(
            [*command, *bounds, *where], stdout=log, stderr=log, env={**_environment(), **environment}
        )
    try:
        url = f"http://127.0.0.1:{PEER_PORT}"
        _wait(url, served, place / "log.txt")
        yield url, str(place / "model"), psutil.Process(served.pid)
    finally:
        served.terminate()
        served.wait(30)
        shutil.rmtree(place)


def _environment() -> dict[str, str]:
    return dict(psutil.Process().environ())


def _wait(url: str, served: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and served.poll() is None:
        try:
            if httpx.get(f"{url}/health", trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise RuntimeError(f"transformers serve did not start: {log.read_text()[-500:]}")


def run(plan: Plan) -> dict[str, Any]:
    """Every system's runs by its name, and why one has none."""
    made = model(plan)
    weights = sum(parameter.numel() for parameter in made.parameters())
    found: dict[str, Any] = {"weights": weights, "why_no_peer": None}
    with ours(made, plan) as url:
        found |= _ours(url, plan)
    try:
        with theirs(made, plan) as (url, name, process):
            found["transformers serve"] = _repeated(plan, lambda run: load(url, name, plan, process, run))
    except (RuntimeError, httpx.HTTPError) as error:
        found["why_no_peer"] = " ".join(str(error).split())[-300:]
    return found


def _ours(url: str, plan: Plan) -> dict[str, list[Load]]:
    """Free and held to a schema, taking turns."""
    form = {"response_format": {"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA}}}
    here, free, held = psutil.Process(), list[Load](), list[Load]()
    asyncio.run(load(url, "titles", replace(plan, requests=plan.streams), here, 0))
    for run in range(1, plan.repeats + 1):
        free.append(asyncio.run(load(url, "titles", plan, here, run)))
        held.append(asyncio.run(load(url, "titles", plan, here, run, **form)))
    return {"ours": free, "ours, held to a schema": held}


def _repeated(plan: Plan, once: Any) -> list[Load]:
    asyncio.run(once(0))  # first-time costs
    return [asyncio.run(once(run)) for run in range(1, plan.repeats + 1)]


def median(runs: Sequence[Load]) -> Load:
    """Each figure's median."""
    return Load(*(statistics.median(column) for column in zip(*runs, strict=True)))
