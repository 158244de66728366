"""Many clients that make calls of several requests each, in a process of their own; every request is written down."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import httpx

PATH = "/v1/tasks/ticket_category"
TEXTS = {
    "cmn": ("小区门口的路灯坏了", "井盖丢了很危险", "公交车总是晚点", "半夜施工太吵"),
    "yue-hongkong": ("樓下盞街燈壞咗", "個渠蓋唔見咗好危險", "架巴士成日遲到", "半夜三更開工好嘈"),
}
"""The same four complaints in two dialects."""
GIVE_UP_SECONDS = 60.0


class Said(NamedTuple):
    """What came of one request: when it began and ended (seconds since 1970), how it ended, after how many tries."""

    call: str
    begun: float
    ended: float
    status: int
    """0 when nothing was answered at all."""
    tries: int
    digest: str


class Load:
    """Clients at work."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def said(self) -> list[Said]:
        """Every request that has ended."""
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [Said(*json.loads(line)) for line in lines if line.endswith("\n")]


@contextmanager
def loaded(url: str, clients: int, requests: int, pause: float) -> Iterator[Load]:
    """Clients that call inside of this context."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        command = [sys.executable, __file__, url, file.name, str(clients), str(requests), str(pause)]
        with subprocess.Popen(command) as process:
            try:
                yield Load(Path(file.name))
            finally:
                process.terminate()


async def client(url: str, requests: int, pause: float, file: TextIO) -> None:
    """Call after call, for ever."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as http:
        await asyncio.sleep(random.uniform(0, pause))
        while True:
            call = uuid.uuid4().hex
            for _ in range(requests):
                file.write(json.dumps(await request(http, call)) + "\n")
                await asyncio.sleep(random.uniform(0.5, 1.5) * pause)


async def request(http: httpx.AsyncClient, call: str) -> Said:
    """One request, tried again after a lost connection or 503, as a careful client does."""
    begun, tries = time.time(), 0
    dialect = random.choice(list(TEXTS))
    body: dict[str, Any] = {"text": random.choice(TEXTS[dialect])}
    while True:
        tries, wait, status, digest = tries + 1, 1.0, 0, ""
        try:
            reply = await http.post(PATH, json=body, headers={"X-Call-Id": call, "X-Dialect": dialect})
            status, digest = reply.status_code, reply.headers.get("x-model-digest", "")
            wait = float(reply.headers.get("retry-after", wait))
        except httpx.TransportError:
            pass
        if status not in (0, 429, 503) or time.time() + wait > begun + GIVE_UP_SECONDS:
            return Said(call, begun, time.time(), status, tries, digest)
        await asyncio.sleep(wait)


async def _all(url: str, path: str, clients: int, requests: int, pause: float) -> None:
    with Path(path).open("w", encoding="utf-8", buffering=1) as file:
        await asyncio.gather(*(client(url, requests, pause, file) for _ in range(clients)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("path")
    parser.add_argument("clients", type=int)
    parser.add_argument("requests", type=int)
    parser.add_argument("pause", type=float)
    asyncio.run(_all(**vars(parser.parse_args())))
