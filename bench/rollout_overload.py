"""Line 2 of bench/rollout.py: four times as many calls as can be answered, most of them not urgent.

The load comes from a process of its own, at random times that do not depend on the answers (an open loop).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import serving_site
import torch

from hotline.families import classifier
from hotline.families.classifier_options import ClassifierOptions
from hotline.labels import LabelTree
from hotline.tasks import find
from serving.replica import Options
from serving.run import start

TASK = find("ticket_category")
PATH = f"/v1/tasks/{TASK.name}"
LABELS = ("城乡建设/市政/路灯", "城乡建设/市政/井盖", "交通/公交/晚点", "环保/噪音/施工")
CHARACTERS = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
ENCODER = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}
LETTERS = 150
LIVE, OVERLOAD = 0.2, 4.0
"""Shares of what can be answered: urgent calls, always, and all calls together while there are too many."""
CLOSED_SECONDS, UNLOADED_SECONDS, AFTER_SECONDS = 15.0, 30.0, 30.0
SAMPLE_SECONDS = 0.5
PORT = 8396


class Said(NamedTuple):
    """One call: whether it was urgent, when it began and ended (seconds since 1970), its status, and Retry-After."""

    urgent: bool
    begun: float
    ended: float
    status: int
    """0 when nothing was answered at all."""
    retry_after: str | None

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


def model(folder: Path) -> classifier.Classifier:
    """A classifier whose encoder costs as much as a small one of users does; what it says is arbitrary."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS]))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(tokenizer), **ENCODER)).save_pretrained(folder)
    inputs = [TASK.input.model_validate({"text": text()}) for _ in LABELS]
    targets = [TASK.target.model_validate({"label": label}) for label in LABELS]
    options = ClassifierOptions.model_validate({"encoder": "pretrained", "base": str(folder)})
    return classifier.create(options, TASK, LabelTree.of(LABELS), inputs, targets).eval()


def text() -> str:
    return "".join(random.choices(CHARACTERS, k=LETTERS))


async def ask(http: httpx.AsyncClient, urgent: bool) -> Said:
    """One call, tried once."""
    begun, status, after = time.time(), 0, None
    try:
        reply = await http.post(PATH, json={"text": text()}, headers={} if urgent else {"X-Priority": "bulk"})
        status, after = reply.status_code, reply.headers.get("retry-after")
    except httpx.TransportError:
        pass
    return Said(urgent, begun, time.time(), status, after)


async def at_random(url: str, live: float, bulk: float, seconds: float) -> list[Said]:
    """So many urgent and other calls a second, at random times, whatever becomes of them."""
    limits, asking = httpx.Limits(max_connections=None, max_keepalive_connections=200), list[asyncio.Task[Said]]()
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as http:

        async def source(urgent: bool, rate: float) -> None:
            at, until = time.time(), time.time() + seconds
            while rate and (at := at + random.expovariate(rate)) < until:
                await asyncio.sleep(max(0.0, at - time.time()))
                asking.append(asyncio.create_task(ask(http, urgent)))

        await asyncio.gather(source(True, live), source(False, bulk))
        return list(await asyncio.gather(*asking))


async def in_turn(url: str, callers: int, seconds: float) -> list[Said]:
    """Callers that ask again as soon as they are answered."""
    said, until = list[Said](), time.time() + seconds
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:

        async def caller() -> None:
            while time.time() < until:
                said.append(await ask(http, True))

        await asyncio.gather(*(caller() for _ in range(callers)))
    return said


def load(url: str, *, live: float = 0.0, bulk: float = 0.0, callers: int = 0, seconds: float) -> list[Said]:
    """The calls of a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, __file__, url, file.name, str(live), str(bulk), str(callers), str(seconds)]
        subprocess.run(command, check=True)
        return [Said(*each) for each in json.loads(Path(file.name).read_text())]


@contextmanager
def memory() -> Iterator[list[float]]:
    """Samples of the memory of all serving processes inside of this context, in MiB."""
    samples, stop = list[float](), threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            family = psutil.Process().children(recursive=True)
            samples.append(sum(each.memory_info().rss for each in family if "ray" in each.name()) / 2**20)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def run(place: Path, seconds: float, threads: int, show: Any) -> dict[str, Any]:
    """The figures of an overload that lasts so long."""
    random.seed(0)
    here = serving_site.make(place / "site")
    serving_site.promote(here, model(place / "encoder"), "tickets", TASK)
    live = start(here, PORT, Options(threads=threads))
    try:
        load(live.url, callers=4, seconds=5)
        closed = load(live.url, callers=16, seconds=CLOSED_SECONDS)
        capacity = len(closed) / CLOSED_SECONDS
        calm = load(live.url, live=LIVE * capacity, seconds=UNLOADED_SECONDS)
        with memory() as samples:
            many = (OVERLOAD - LIVE) * capacity
            waiting = threading.Thread(target=lambda: bulk.extend(load(live.url, bulk=many, seconds=seconds)))
            bulk: list[Said] = []
            waiting.start()
            urgent = load(live.url, live=LIVE * capacity, seconds=seconds + AFTER_SECONDS)
            waiting.join()
    finally:
        live.stop()
    return figures(capacity, calm, urgent, bulk, samples, show)


def figures(
    capacity: float, calm: Sequence[Said], urgent: Sequence[Said], bulk: Sequence[Said], samples: list[float], show: Any
) -> dict[str, Any]:
    """What the calls show; prints them."""
    begun, ended = min(one.begun for one in bulk), max(one.begun for one in bulk)
    during = [one for one in urgent if begun <= one.begun <= ended]
    p95_calm, p95_during = (float(np.quantile([one.seconds for one in said], 0.95)) for said in (calm, during))
    after = [one for one in urgent if one.begun > ended]
    slow = [one.ended - ended for one in after if one.status != 200 or one.seconds > 2 * p95_calm]
    statuses = {status: sum(one.status == status for one in bulk) for status in sorted({one.status for one in bulk})}
    show(f"{capacity:.1f} calls a second can be answered; {len(bulk)} that were not urgent ended as {statuses}")
    show(f"urgent ones: p95 {1000 * p95_calm:.0f} ms alone, {1000 * p95_during:.0f} ms meanwhile ({len(during)} calls)")
    show(f"memory: {samples[0]:.0f} MiB at first, {max(samples):.0f} at most")
    return {
        "recovery_seconds": max(slow, default=0.0),
        "overload_live_p95_ratio": p95_during / p95_calm,
        "overload_live_failed": sum(one.status != 200 for one in during),
        "overload_refused": statuses.get(429, 0) / len(bulk),
        "overload_without_retry_after": sum(one.status == 429 and not one.retry_after for one in bulk),
        "overload_other_statuses": sum(one.status not in (200, 429) for one in bulk),
        "overload_memory_ratio": max(samples) / samples[0],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("path", type=Path)
    for name in ("live", "bulk"):
        parser.add_argument(name, type=float)
    parser.add_argument("callers", type=int)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    calls = in_turn(given.url, given.callers, given.seconds) if given.callers else None
    made = asyncio.run(calls or at_random(given.url, given.live, given.bulk, given.seconds))
    given.path.write_text(json.dumps(made))
