"""Many inputs through an endpoint: in order, many calls at a time, and every one comes back, answered or not."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import random
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from hotline.errors import HotlineError, InputError, UnavailableError, UnknownName

TRIES = 6
FIRST_WAIT_SECONDS = 0.2
MAX_WAIT_SECONDS = 5.0
TIMEOUT_SECONDS = 60.0
RECORDING_SECONDS = 4 * 3600.0
"""A recording may take as long as it is."""
BUSY = {429, 503}


def predict(
    url: str, task: str, inputs: Iterable[Mapping[str, Any]], concurrency: int = 32
) -> Iterator[dict[str, Any]]:
    """For each input, in order, the body of its answer, or `{"error": {"code", "message", ...}}`.

    Calls that find the endpoint busy are made again, with growing pauses. Raises UnavailableError when nothing answers
    at `url` or the task has no champion, UnknownName when it is not declared there; both before the first row.
    """
    return _run(url, task, ({"json": dict(row)} for row in inputs), concurrency)


def transcribe(
    url: str, recordings: Iterable[Path], task: str = "transcription", concurrency: int = 4
) -> Iterator[dict[str, Any]]:
    """The same for files with recordings, which are read when their turn comes. Raises InputError for one that cannot
    be read."""
    timeout = httpx.Timeout(TIMEOUT_SECONDS, read=RECORDING_SECONDS)
    bodies = ({"files": {"file": (path.name, _content(path))}, "timeout": timeout} for path in recordings)
    return _run(url, task, bodies, concurrency)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError("the recording cannot be read", where=str(path), found=error.strerror) from error


def _run(url: str, task: str, bodies: Iterable[Mapping[str, Any]], concurrency: int) -> Iterator[dict[str, Any]]:
    with asyncio.Runner() as runner:
        answers = _answers(url.rstrip("/"), task, bodies, concurrency)
        try:
            while answer := runner.run(_next(answers)):
                yield answer
        finally:
            runner.run(_close(answers))


async def _next(answers: AsyncGenerator[dict[str, Any]]) -> dict[str, Any] | None:
    return await anext(answers, None)


async def _close(answers: AsyncGenerator[dict[str, Any]]) -> None:
    await answers.aclose()


async def _answers(
    url: str, task: str, bodies: Iterable[Mapping[str, Any]], concurrency: int
) -> AsyncGenerator[dict[str, Any]]:
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(
        base_url=url, timeout=TIMEOUT_SECONDS, limits=limits, trust_env=not _is_here(url)
    ) as client:
        await _check(client, task)
        remaining = iter(bodies)
        calls = deque(_begin(client, task, body) for body in itertools.islice(remaining, concurrency))
        try:
            while calls:
                answer = await calls.popleft()
                calls.extend(_begin(client, task, body) for body in itertools.islice(remaining, 1))
                yield answer
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def _begin(client: httpx.AsyncClient, task: str, body: Mapping[str, Any]) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(_ask(client, task, body))


async def _ask(client: httpx.AsyncClient, task: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    """One body's answer or its error; a busy or unreachable endpoint is asked again."""
    error: dict[str, Any] = {}
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(random.uniform(0.5, 1) * min(FIRST_WAIT_SECONDS * 4**attempt, MAX_WAIT_SECONDS))
        try:
            response = await client.post(f"/v1/tasks/{task}", **sent)
        except httpx.TransportError as failure:
            error = _nobody(client, failure).as_dict()
            continue
        body = _body(response)
        if response.is_success:
            return body
        error = body["error"]
        if response.status_code not in BUSY:
            break
    return {"error": error}


async def _check(client: httpx.AsyncClient, task: str) -> None:
    """Raises what makes every row fail alike."""
    try:
        response = await client.get("/v1/tasks")
    except httpx.TransportError as failure:
        raise _nobody(client, failure) from failure
    declared = {entry["name"]: entry for entry in _body(response).get("tasks", [])}
    if task not in declared:
        raise UnknownName(
            f"no task named {task!r} there",
            where=str(client.base_url),
            expected="one of " + (", ".join(declared) or "none"),
            next="hotline tasks",
        )
    if not declared[task]["served"]:
        raise UnavailableError(
            f"{task} has no version that may answer",
            where=str(client.base_url),
            found=declared[task]["why_not"],
            next=f"hotline judge a candidate, then hotline promote it for {task}",
        )


def _body(response: httpx.Response) -> dict[str, Any]:
    """The JSON object; an error body for anything that our endpoints would not say."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and (response.is_success or isinstance(body.get("error"), dict)):
        return body
    other = HotlineError(
        "this is not one of our endpoints", where=str(response.url), found=f"HTTP {response.status_code}"
    )
    return {"error": other.as_dict()}


def _nobody(client: httpx.AsyncClient, failure: httpx.TransportError) -> UnavailableError:
    return UnavailableError(
        "no endpoint answers there",
        where=str(client.base_url),
        found=failure or type(failure).__name__,
        next="hotline serve",
    )


def _is_here(url: str) -> bool:
    """Whether the address is this machine, which no proxy of the environment reaches."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
