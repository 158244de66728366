"""What watching costs a request, in microseconds of CPU of the ingress's event loop, and what a scrape costs.

    python bench/watch.py --requests 5000

An ASGI application that answers at once stands for the routes, so that nothing but the watch is timed; requests come
in bursts of 200, as drift is counted by another thread between them. Last line: JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.types import Receive, Scope, Send

from hotline import drift
from hotline.policy import SitePolicy
from hotline.tasks import find
from serving.routes import Route
from serving.switchboard import Switchboard
from serving.watch import exposition, meters
from serving.watch.drift import reference_path
from serving.watch.middleware import Watched
from serving.watch.watching import Watch

TASK, TEXT = find("ticket_category"), "小区门口的路灯坏了三天，打了两次电话都没有人来修，晚上老人出门很不方便。"
ROUTE = Route.model_validate(
    {
        "task": TASK.name,
        "line": "tickets",
        "version": "1",
        "digest": "a" * 64,
        "verdict": "b" * 64,
        "promotion": 1,
        "promoted": "2026-01-01T00:00:00+00:00",
        "profile": "demo",
        "outcome": "passed",
        "site": "bench",
        "engine": "in process",
        "app": "ticket_category-aaaaaaaaaaaa",
    }
)
SAID = {"answer": {"label": "城乡建设/市政/路灯"}, "confidence": 0.9, "alternatives": []}
BURST = 200
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def refer(state: Path) -> None:
    """A reference, so that drift is counted, too."""
    values = {"text": [f"{TEXT}{n}" for n in range(400)], "length": [float(n % 60) for n in range(400)]}
    values |= {"answer": ["城乡建设"] * 400, "confidence": [n / 400 for n in range(400)]}
    path = reference_path(state, TASK.name, ROUTE.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(drift.refer(TASK.name, ROUTE.digest, "b" * 64, values).model_dump_json(), encoding="utf-8")


async def microseconds(app: App, requests: int) -> float:
    """Of one request, in the median burst."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    found = []
    for _ in range(requests // BURST):
        began = time.thread_time()
        for _ in range(BURST):
            scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "state": {}}
            await app(scope, receive, send)
        found.append((time.thread_time() - began) / BURST * 1e6)
        await asyncio.sleep(0.1)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state, board = Path(folder), Switchboard("bench")
        refer(state)
        site = SitePolicy.model_validate({"schema_version": 1, "site": "bench", "profile": "demo"})
        watch = Watch(board, state, site)
        question = TASK.input.model_validate({"text": TEXT})

        async def plain(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] |= {"route": ROUTE, "request_id": "ticket_category.aaaaaaaaaaaa.1.0"}
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def asked(scope: Scope, receive: Receive, send: Send) -> None:
            with board.watch.asking(ROUTE, question) as ours:
                ours.said(SAID)
            await plain(scope, receive, send)

        async def measure() -> dict[str, float]:
            bare = await microseconds(plain, arguments.requests)
            within = await microseconds(asked, arguments.requests)
            watched = await microseconds(Watched(asked, watch), arguments.requests)
            return {"bare": bare, "answer": within - bare, "request": watched - within, "watch": watched - bare}

        found = asyncio.run(measure())
        began = time.perf_counter()
        from prometheus_client import generate_latest

        registry = meters.registry()
        registry.register(exposition.Told([*exposition.of_map(board.map), *watch.rows()]))
        size = len(generate_latest(registry))
        found |= {"scrape_ms": (time.perf_counter() - began) * 1000, "scrape_bytes": size}
        watch._close()
    print(f"{'an answer is counted, also for drift':<44}{found['answer']:8.1f} µs")
    print(f"{'a request is counted and logged':<44}{found['request']:8.1f} µs")
    print(f"{'both':<44}{found['watch']:8.1f} µs")
    print(f"{'a scrape of ' + str(found['scrape_bytes']) + ' bytes':<44}{found['scrape_ms']:8.1f} ms")
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
