"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), each one a JSON object."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from hotline.errors import HotlineError
from serving import guard
from serving.bodies import problem

log = logging.getLogger("ray.serve")


class Stream(StreamingResponse):
    """The events as they come; what `held` keeps open is let go when the last is sent or the caller goes away."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncIterator[Mapping[str, Any]], held: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(_lines(events, headers["X-Request-Id"]), headers={**headers, "Cache-Control": "no-store"})
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


async def _lines(events: AsyncIterator[Mapping[str, Any]], request_id: str) -> AsyncIterator[str]:
    """The events as text; an error that comes after the first byte is told as the last event."""
    try:
        async for event in events:
            yield line(event)
    except HotlineError as error:
        yield "event: error\n" + line(problem(error, request_id).model_dump())
    except Exception:
        log.exception("request %s failed", request_id)
        yield "event: error\n" + line(problem(guard.internal(), request_id).model_dump())


def line(event: Mapping[str, Any]) -> str:
    """One event; JSON has no line ends within."""
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
