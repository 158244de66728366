"""What shares a batch, and what the ingress holds at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from hotline.policy import Limits
from serving import guard
from serving.engines.batching import Batcher, Pace
from serving.replica import Options


@pytest.mark.parametrize(
    ("calls", "longest", "fits"),
    [(32, 1.0, True), (33, 1.0, False), (4, 15.0, True), (5, 15.0, False), (1, 600.0, True), (2, 600.0, False)],
    ids=["32 short", "33 short", "4 long", "5 long", "one very long", "two very long"],
)
def test_a_batch_is_full_by_rows_or_by_padded_seconds(calls: int, longest: float, fits: bool) -> None:
    assert Options(batch_rows=32, batch_seconds=60.0).fits(calls, longest) == fits


class Work:
    """Notes its batches; each is held back until `free` is set."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.free = threading.Event()

    def __call__(self, calls: list[str]) -> list[str]:
        self.batches.append(calls)
        self.free.wait(10)
        if "broken" in calls:
            raise ValueError("this batch is broken")
        return [call.upper() for call in calls]


def asked_while_one_is_computed(*calls: str, given_up: str = "") -> tuple[list[list[str]], list[str | BaseException]]:
    """The batches that a call `first` and those that come while it is computed make, and the replies to them all.

    A call is as large as it is long; four are a batch, `*` marks those that are not urgent.
    """

    async def ask() -> list[str | BaseException]:
        batcher = Batcher(work, len, lambda count, _: count <= 4, lambda call: "*" not in call)
        asking = [asyncio.create_task(batcher.answer("first"))]
        while not work.batches:
            await asyncio.sleep(0.001)
        asking += [asyncio.create_task(batcher.answer(call)) for call in calls]
        await asyncio.sleep(0)
        for task, call in zip(asking[1:], calls, strict=True):
            if call == given_up:
                task.cancel()
        await asyncio.sleep(0)
        work.free.set()
        return await asyncio.gather(*asking, return_exceptions=True)

    work = Work()
    return work.batches, asyncio.run(ask())


def test_calls_gather_while_others_are_computed_and_each_gets_its_own_reply() -> None:
    batches, replies = asked_while_one_is_computed("a", "b", "c")
    assert batches == [["first"], ["a", "b", "c"]]
    assert replies == ["FIRST", "A", "B", "C"]


def test_the_oldest_call_leads_and_those_of_like_size_join_it() -> None:
    batches, _ = asked_while_one_is_computed("aaaaaa", "b", "cccccc", "d", "eeeee", "f", "ggggggg")
    assert [sorted(batch) for batch in batches[1:]] == [["aaaaaa", "cccccc", "eeeee", "ggggggg"], ["b", "d", "f"]]


@pytest.mark.parametrize(("fixed", "each"), [(0.1, 0.05), (0.1, 0.0), (0.0, 0.2)])
def test_the_time_of_a_batch_is_foretold_from_those_before_it(fixed: float, each: float) -> None:
    pace = Pace()
    for size in (1, 4, 2, 8, 3):
        pace.learn(size, fixed + each * size)
    assert [pace.seconds(size) for size in (1, 6, 32)] == pytest.approx([fixed + each * size for size in (1, 6, 32)])


def test_a_pace_learnt_from_batches_of_one_size_grows_with_it_and_follows_changes() -> None:
    pace = Pace()
    for seconds in [1.0] * 50 + [3.0] * 500:
        pace.learn(2, seconds)
    assert [pace.seconds(2), pace.seconds(4)] == pytest.approx([3, 6], rel=1e-3)


def test_urgent_calls_go_first_and_the_others_are_answered_too() -> None:
    batches, replies = asked_while_one_is_computed("a*", "b", "c*", "d")
    assert batches[1] == ["b", "d"] and replies[1:] == ["A*", "B", "C*", "D"]


def test_nothing_is_computed_for_a_caller_who_gave_up() -> None:
    batches, replies = asked_while_one_is_computed("a", "b", given_up="a")
    assert batches == [["first"], ["b"]] and isinstance(replies[1], asyncio.CancelledError) and replies[2] == "B"


def test_a_batch_that_fails_is_told_to_its_callers_and_the_next_one_is_computed() -> None:
    batches, replies = asked_while_one_is_computed("broken", "a", "bbbbbbbbbbb", "cccccc", "ccccccc")
    assert [isinstance(reply, ValueError) for reply in replies] == [False, True, True, False, True, True]
    assert batches[2] == ["bbbbbbbbbbb"] and replies[3] == "BBBBBBBBBBB"


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

    bodies = [bytes(size)]

    async def receive() -> Message:
        if not bodies:
            await asyncio.Event().wait()  # this caller never hangs up
        return {"type": "http.request", "body": bodies.pop(), "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "path": "/audio", "headers": []}, receive, send)
    return int(sent[0]["status"])
