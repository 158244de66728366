"""What shares a batch, and what the ingress holds at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from hotline.audio import tone
from hotline.policy import Limits
from hotline.task import Input
from hotline.tasks import find
from serving import guard
from serving.replica import places

ROWS, SECONDS = 32, 60.0


def calls(*lengths: float) -> list[Input]:
    return [find("transcription").input.model_validate({"audio": tone(length)}) for length in lengths]


@pytest.mark.parametrize(
    ("lengths", "fits"),
    [
        ((1.0,) * 32, True),
        ((1.0,) * 33, False),
        ((15.0,) * 4, True),
        ((15.0,) * 5, False),
        ((1.0,) * 3 + (15.0,), True),
        ((1.0,) * 4 + (15.0,), False),
        ((600.0,), True),
    ],
    ids=["32 short", "33 short", "4 long", "5 long", "short beside long", "padded too far", "one very long"],
)
def test_a_batch_is_full_by_rows_or_by_padded_seconds(lengths: tuple[float, ...], fits: bool) -> None:
    assert (places(calls(*lengths), ROWS, SECONDS) <= ROWS) == fits


def test_texts_are_counted_by_rows_only() -> None:
    texts = [find("ticket_category").input.model_validate({"text": "路灯坏了" * 4000})] * 32
    assert places(texts, ROWS, float("inf")) == 32


def test_recordings_that_would_fill_the_memory_are_asked_to_come_again() -> None:
    limits = Limits(body_bytes=10, audio_bytes=100)
    more = asyncio.run(_statuses(guard.HELD_BODIES + 1, 100, limits))
    assert sorted(more) == [200] * guard.HELD_BODIES + [503]
    assert set(asyncio.run(_statuses(50, 10, limits))) == {200}


async def _statuses(count: int, size: int, limits: Limits) -> list[int]:
    """The status of each of so many requests of that size, none of which ends before all have come in."""
    all_came = asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await all_came.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    guarded = guard.Guard(waiting, limits, {"/audio"})
    requests = [asyncio.create_task(_status(guarded, size)) for _ in range(count)]
    await asyncio.sleep(0)
    all_came.set()
    return list(await asyncio.gather(*requests))


async def _status(app: Any, size: int) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(size), "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "path": "/audio", "headers": []}, receive, send)
    return int(sent[0]["status"])
