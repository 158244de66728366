"""Captured calls as inputs of their task: those that were corrected, for `hotline import`; all of them, to replay."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from hotline import policy
from hotline.errors import InputError
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find
from serving import embeddings, forms, inputs
from serving.capture import calls, sealing
from serving.capture.calls import Captured
from serving.capture.store import Store


@dataclass(frozen=True)
class Corrected:
    """What a caller asked, and what the answer should have been; `clip` is the recording where there is one."""

    id: str
    call_id: str
    time: float
    """Of the call, in seconds since 1970."""
    input: dict[str, Any]
    clip: bytes | None
    target: dict[str, Any]
    answer: bytes
    """What was answered, as it was sent."""


@dataclass(frozen=True)
class Asked:
    """What a caller asked, and what was answered to it: None where the answer was not the task's own."""

    id: str
    input: dict[str, Any]
    clip: bytes | None
    answer: dict[str, Any] | None


def asked(settings: Settings, task: Task, since: float = 0.0, until: float = float("inf")) -> Iterator[Asked]:
    """The task's captured calls of that time (seconds since 1970), oldest first, opened with the capture key.

    Calls without one input, such as conversations, are left out. Raises as `corrected` does.
    """
    for call in calls.read(settings, since, until):
        if call.task == task.name and (found := _asked(call)) is not None:
            own = call.path == f"/v1/tasks/{call.task}"
            yield Asked(call.id, *found, json.loads(call.answer)["answer"] if own else None)


def corrected(settings: Settings, task: Task) -> Iterator[Corrected]:
    """The task's corrected calls, opened with this machine's capture key. Calls without one input are left out.

    Raises PolicyError without the key, IntegrityError for what it does not open.
    """
    site, key, store = policy.load(settings.workspace).site, sealing.load(settings.keys), Store(settings.captures)
    store.prune()
    for correction in store.corrections(task.name):
        if (row := store.find(correction.id)) is None:
            continue  # its time has passed meanwhile
        content = sealing.opened(key, row.content, (site, "call", row.id))
        call = calls.unpacked(row.id, row.task, row.time, content)
        answer = sealing.opened(key, correction.content, (site, "correction", row.id))
        if (asked := _asked(call)) is not None:
            yield Corrected(
                call.id, call.call_id or call.id, call.time, asked[0], asked[1], json.loads(answer), call.answer
            )


def _asked(call: Captured) -> tuple[dict[str, Any], bytes | None] | None:
    """The input's fields and its recording; None for what is no row: a conversation, or several texts at once."""
    if call.content_type.startswith("multipart/form-data"):
        form = asyncio.run(_form(call))
        return {}, form.content
    asked = json.loads(call.body)
    if call.path == f"/v1/tasks/{call.task}":
        return asked, None
    given = asked.get("input")
    if call.path == embeddings.PATH:
        return ({inputs.text_field(find(call.task)): given}, None) if isinstance(given, str) else None
    return None if given is None else (given, None)


async def _form(call: Captured) -> forms.Form:
    async def receive() -> Message:
        return {"type": "http.request", "body": call.body, "more_body": False}

    headers = [(b"content-type", call.content_type.encode())]
    scope = {"type": "http", "method": "POST", "path": call.path, "headers": headers, "query_string": b""}
    try:
        return await forms.read(Request(scope, receive), lists=("keywords[]", "languages[]", "include[]"))
    except InputError as error:
        raise InputError("a captured form cannot be read", where=call.id, found=error) from error
