"""What the door costs a call: the ASGI layers alone, with and without required access, in this process.

    python bench/door.py [--calls 20000] [--keys 1000]

Prints a table and, as the last line, JSON: microseconds a call (median of 20 rounds) for no door, an open one, a right
key with quotas, and a wrong key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from hotline import keys, settings
from hotline.policy import SitePolicy
from serving.access import issue
from serving.access.door import Door

ROUNDS = 20


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def scope(key: str | None) -> dict[str, Any]:
    sent = [(b"host", b"here"), (b"content-type", b"application/json"), (b"user-agent", b"bench")]
    if key:
        sent.append((b"authorization", f"Bearer {key}".encode()))
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/tasks/ticket_category",
        "headers": sent,
        "client": ("10.0.0.1", 1),
    }


async def receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_: Any) -> None:
    return None


async def microseconds(app: Any, key: str | None, calls: int) -> float:
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(calls // ROUNDS):
            await app(scope(key), receive, send)
        rounds.append((time.perf_counter() - begun) / (calls // ROUNDS) * 1e6)
    return statistics.median(rounds)


def workspace(folder: Path) -> settings.Settings:
    (folder / "policy").mkdir()
    written = {"schema_version": 1, "site": "bench", "profile": "demo"}
    (folder / "policy" / "site.yaml").write_text(yaml.safe_dump(written))
    here = settings.load(folder)
    signer = {"name": "bench", "public_key": keys.create(here.keys, "operator").public, "roles": ["operator"]}
    (folder / "policy" / "signers.yaml").write_text(yaml.safe_dump({"schema_version": 1, "signers": [signer]}))
    return here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = workspace(Path(folder))
        wish = {"roles": ("call",), "tasks": ("ticket_category",), "per_minute": 10**9, "concurrency": 10**6}
        made = [issue.create(here, f"key {number}", 1, "operator", wish)[1] for number in range(asked.keys)]
        site = SitePolicy.model_validate({"schema_version": 1, "site": "bench", "profile": "demo"})
        closed = Door(nothing, site.model_copy(update={"access": "required"}), here.state)
        cases = {
            "none": (nothing, None),
            "open": (Door(nothing, site, here.state), None),
            "right_key": (closed, made[-1]),
            "wrong_key": (closed, made[-1][:-4] + "AAAA"),
        }
        found = {name: asyncio.run(microseconds(app, key, asked.calls)) for name, (app, key) in cases.items()}
    print(f"{'case':<12}{'µs a call':>12}")
    for name, value in found.items():
        print(f"{name:<12}{value:>12.1f}")
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


if __name__ == "__main__":
    main()
