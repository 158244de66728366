"""Too many calls: what is not urgent is refused first, at once, and told when to come again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from hotline.policy import Limits
from serving.admission import URGENT, Admission

LIMITS = Limits(queue=5, bulk_queue=2)
TICKETS, CALLS = "/v1/tasks/ticket_category", "/v1/tasks/transcription"


class Endpoint:
    """An application that answers nobody before all callers have come, behind the door's admission."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.urgent = Counter[bool]()
        self.app = Admission(self._answer, LIMITS)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.urgent[URGENT.get()] += 1
        await self.free.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def call(self, path: str, priority: str, method: str = "POST") -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            raise AssertionError("no body is read of a call that is refused")

        async def send(message: Message) -> None:
            sent.append(message)

        state = {"stamp": "stamp", "priority": priority}
        scope = {"type": "http", "method": method, "path": path, "headers": [], "state": state}
        await self.app(scope, receive, send)
        return sent


def asked(calls: Sequence[tuple[str, str]], method: str = "POST") -> tuple[Endpoint, list[list[Message]]]:
    """All of these calls at once, each a path and a priority; what was sent to each."""

    async def ask() -> tuple[Endpoint, list[list[Message]]]:
        endpoint = Endpoint()
        asking = [asyncio.ensure_future(endpoint.call(*call, method)) for call in calls]
        await asyncio.sleep(0)
        endpoint.free.set()
        first = await asyncio.gather(*asking)
        again = await endpoint.call(*calls[0], method)
        assert again[0]["status"] == 200  # the places are free again
        return endpoint, first

    return asyncio.run(ask())


def statuses(said: Sequence[list[Message]]) -> list[int]:
    return [messages[0]["status"] for messages in said]


def test_what_is_not_urgent_is_refused_first_and_leaves_room_for_what_is() -> None:
    endpoint, said = asked([(TICKETS, "bulk")] * 4 + [(TICKETS, "live")] * 4)
    assert statuses(said) == [200, 200, 429, 429, 200, 200, 200, 429]
    assert endpoint.urgent == {True: 3, False: 2 + 1}  # one more when all were answered


def test_a_refusal_says_when_to_call_again_and_which_limit_it_was() -> None:
    _, said = asked([(TICKETS, "bulk")] * 3)
    start, body = said[2]
    error: Any = json.loads(body["body"])["error"]
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert error["code"] == "too_many_calls" and "limits.bulk_queue" in error["expected"]


def test_one_endpoint_that_is_full_closes_no_other() -> None:
    _, said = asked([(TICKETS, "live")] * 6 + [(CALLS, "live")])
    assert statuses(said) == [200] * 5 + [429, 200]


@pytest.mark.parametrize(("path", "method"), [("/readyz", "POST"), (TICKETS, "GET")])
def test_only_calls_are_counted(path: str, method: str) -> None:
    _, said = asked([(path, "live")] * 8, method)
    assert statuses(said) == [200] * 8
