"""One captured call, and the bytes that are sealed for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from hotline import policy
from hotline.settings import Settings
from serving.capture import sealing
from serving.capture.store import Store


@dataclass(frozen=True)
class Captured:
    """What a caller sent and what was answered."""

    id: str
    task: str
    time: float
    """Seconds since 1970."""
    path: str
    content_type: str
    call_id: str | None
    body: bytes
    answer: bytes

    def packed(self) -> bytes:
        """A line of JSON, then the body, then the answer."""
        head = {"path": self.path, "content_type": self.content_type, "call_id": self.call_id, "body": len(self.body)}
        return json.dumps(head).encode() + b"\n" + self.body + self.answer


def unpacked(id: str, task: str, time: float, content: bytes) -> Captured:
    line, _, rest = content.partition(b"\n")
    head = json.loads(line)
    size = head.pop("body")
    return Captured(id, task, time, **head, body=rest[:size], answer=rest[size:])


def read(settings: Settings, since: float = 0.0, until: float = float("inf")) -> Iterator[Captured]:
    """The workspace's captured calls of that time, oldest first, opened with this machine's capture key: to replay.

    Raises PolicyError without the key, IntegrityError for a call that it does not open.
    """
    site, key = policy.load(settings.workspace).site, sealing.load(settings.keys)
    store = Store(settings.captures)
    store.prune()
    for each in store.calls(since, until):
        content = sealing.opened(key, each.content, (site, "call", each.id))
        yield unpacked(each.id, each.task, each.time, content)
