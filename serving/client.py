"""Many inputs through an endpoint: in order, many calls at a time, and every one comes back, answered or not."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import random
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from hotline import settings
from hotline.errors import AccessError, HotlineError, InputError, NotAllowed, UnavailableError, UnknownName

TRIES = 6
FIRST_WAIT_SECONDS = 0.2
MAX_WAIT_SECONDS = 5.0
MAX_ASKED_SECONDS = 60
"""An endpoint's Retry-After is heeded up to here."""
TIMEOUT_SECONDS = 60.0
RECORDING_SECONDS = 4 * 3600.0
"""A recording may take as long as it is."""
BUSY = {429, 503}


def predict(
    url: str, task: str, inputs: Iterable[Mapping[str, Any]], concurrency: int = 32
) -> Iterator[dict[str, Any]]:
    """For each input, in order, the body of its answer, or `{"error": {"code", "message", ...}}`.

    Calls that find the endpoint busy are made again, with growing pauses, or after the one that it asks for. They carry
    the access key in HOTLINE_API_KEY, if there is one. Raises UnavailableError when nothing answers at `url` or the
    task has no champion, UnknownName when it is not declared there, AccessError when the key is refused; all of them
    before the first row.
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
        base_url=url,
        timeout=TIMEOUT_SECONDS,
        limits=limits,
        trust_env=not _is_here(url),
        headers=_key(),
        verify=_trusted(),
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


def _asked(response: httpx.Response) -> float:
    """The seconds of Retry-After; 0 where there is none, or a date."""
    seconds = response.headers.get("retry-after", "")
    return float(min(int(seconds), MAX_ASKED_SECONDS)) if seconds.isdigit() and len(seconds) < 9 else 0.0


def _key() -> dict[str, str]:
    sent = settings.api_key()
    return {"Authorization": f"Bearer {sent}"} if sent else {}


def _trusted() -> ssl.SSLContext | bool:
    """Who may vouch for the endpoints' certificate: HOTLINE_CA_FILE beside those whom everybody trusts."""
    named = settings.ca_file()
    if named is None:
        return True
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(named)
    except OSError as error:
        raise InputError("HOTLINE_CA_FILE cannot be read", where=str(named), found=error) from error
    return context


def _begin(client: httpx.AsyncClient, task: str, body: Mapping[str, Any]) -> asyncio.Task[dict[str, Any]]:
    return asyncio.create_task(_ask(client, task, body))


async def _ask(client: httpx.AsyncClient, task: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    """One body's answer or its error; a busy or unreachable endpoint is asked again."""
    error: dict[str, Any] = {}
    asked = 0.0
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(
                max(asked, random.uniform(0.5, 1) * min(FIRST_WAIT_SECONDS * 4**attempt, MAX_WAIT_SECONDS))
            )
        try:
            response = await client.post(f"/v1/tasks/{task}", **sent)
        except httpx.TransportError as failure:
            error = _nobody(client, failure).as_dict()
            continue
        body = _body(response)
        if response.is_success:
            return body
        error = body["error"]
        asked = _asked(response)
        if response.status_code not in BUSY:
            break
    return {"error": error}


async def _check(client: httpx.AsyncClient, task: str) -> None:
    """Raises what makes every row fail alike."""
    try:
        response = await client.get("/v1/tasks")
    except httpx.TransportError as failure:
        raise _nobody(client, failure) from failure
    if response.status_code in (401, 403):
        raise _refused(client, response)
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


def _refused(client: httpx.AsyncClient, response: httpx.Response) -> AccessError:
    kind = AccessError if response.status_code == 401 else NotAllowed
    found = "the key in HOTLINE_API_KEY" if settings.api_key() else "no key"
    message = _body(response)["error"]["message"]
    return kind(message, where=str(client.base_url), found=found, next="export HOTLINE_API_KEY=… with a key that holds")


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
