"""Beside the reply path: a sampled call is sealed and written by a thread of its own, after it was answered."""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hotline import requests
from hotline.policy import Capture, SitePolicy
from serving.capture import sealing
from serving.capture.calls import Captured
from serving.capture.store import Sealed, Store

log = logging.getLogger("ray.serve")

PATHS = ("/v1/chat/completions", "/v1/audio/transcriptions", "/v1/decisions", "/v1/embeddings")
TASKS = "/v1/tasks/"
WAITING_BYTES = 64 * 1024**2
"""Of calls that are not written yet; more are dropped and counted."""
AT_ONCE = 64
PRUNE_SECONDS = 60.0
DAY_SECONDS = 24 * 3600


class Writer:
    """Seals, writes and deletes; nobody waits for it."""

    def __init__(self, site: str, plan: Capture | None, store: Store) -> None:
        self._site, self._plan, self._store = site, plan, store
        self._calls: queue.SimpleQueue[Captured] = queue.SimpleQueue()
        self._bytes, self._dropped, self._lock = 0, 0, threading.Lock()
        if plan or store.path.exists():
            threading.Thread(target=self._run, name="capture", daemon=True).start()

    def keep(self, call: Captured) -> None:
        size = len(call.body) + len(call.answer)
        with self._lock:
            if self._bytes + size > WAITING_BYTES:
                self._dropped += 1
                return
            self._bytes += size
        self._calls.put(call)

    def _run(self) -> None:
        pruned = 0.0
        while True:
            try:
                if time.monotonic() - pruned > PRUNE_SECONDS:
                    pruned = time.monotonic()
                    self._store.prune()
                call = self._calls.get(timeout=PRUNE_SECONDS / 4)
                self._write([call, *self._waiting()])
            except queue.Empty:
                continue
            except Exception:
                log.exception("captures cannot be written; calls are answered as before")
                time.sleep(1.0)

    def _waiting(self) -> Iterator[Captured]:
        """A few more that wait: a transaction costs more than a call."""
        for _ in range(AT_ONCE):
            if self._calls.empty():
                return
            yield self._calls.get()

    def _write(self, calls: Sequence[Captured]) -> None:
        with self._lock:
            self._bytes -= sum(len(call.body) + len(call.answer) for call in calls)
            dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("%d sampled calls were not captured: the disk does not keep up", dropped)
        if self._plan:
            self._store.add([self._sealed(call, self._plan) for call in calls])

    def _sealed(self, call: Captured, plan: Capture) -> Sealed:
        content = sealing.seal(plan.public_key, call.packed(), (self._site, "call", call.id))
        return Sealed(call.id, call.task, call.time, call.time + plan.days * DAY_SECONDS, content)


class Tap:
    """Takes a copy of sampled calls as they pass; off when the site's policy keeps nothing."""

    def __init__(self, app: ASGIApp, site: SitePolicy, path: Path) -> None:
        self._app, self._site, self._plan = app, site.site, site.capture
        self._writer = Writer(site.site, site.capture, Store(path, site.capture.most_bytes if site.capture else 1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._plan is None or scope["type"] != "http" or not self._is_due(scope, self._plan):
            await self._app(scope, receive, send)
            return
        copy = _Copy(self._plan.call_bytes)
        await self._app(scope, copy.receiving(receive), copy.sending(send))
        name = scope["state"].get("request_id")
        if name and copy.is_whole:
            self._keep(scope, str(name), copy, self._plan)

    def _is_due(self, scope: Scope, plan: Capture) -> bool:
        path: str = scope["path"]
        if scope["method"] != "POST" or not (path in PATHS or (path.startswith(TASKS) and path.count("/") == 3)):
            return False
        call = Headers(scope=scope).get("x-call-id") or str(scope["state"]["stamp"])
        drawn = hashlib.sha256(f"capture\n{self._site}\n{call}".encode()).digest()  # other calls than canaries take
        return int.from_bytes(drawn[:8], "big") < plan.share * 2**64

    def _keep(self, scope: Scope, name: str, copy: _Copy, plan: Capture) -> None:
        task, headers = requests.parse(name).task, Headers(scope=scope)
        if plan.tasks is not None and task not in plan.tasks:
            return
        self._writer.keep(
            Captured(
                name,
                task,
                time.time(),
                scope["path"],
                headers.get("content-type", ""),
                headers.get("x-call-id"),
                b"".join(copy.body),
                b"".join(copy.answer),
            )
        )


@dataclass
class _Copy:
    """What passed of one call."""

    most: int
    body: list[bytes] = field(default_factory=list)
    answer: list[bytes] = field(default_factory=list)
    size: int = 0
    status: int = 0
    ended: bool = False

    @property
    def is_whole(self) -> bool:
        return self.status == 200 and self.ended and self.size <= self.most

    def _take(self, parts: list[bytes], message: Message) -> None:
        part = message.get("body", b"")
        self.size += len(part)
        if self.size <= self.most:
            parts.append(part)

    def receiving(self, receive: Receive) -> Receive:
        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._take(self.body, message)
            return message

        return watched

    def sending(self, send: Send) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            elif message["type"] == "http.response.body":
                self._take(self.answer, message)
                self.ended = not message.get("more_body", False)
            await send(message)

        return watched
