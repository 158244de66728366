"""Who may wait: a bounded queue for every address, and a shorter one for what is not urgent. Pure ASGI."""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar

from starlette.types import ASGIApp, Receive, Scope, Send

from hotline.errors import TooManyCalls
from hotline.policy import Limits
from serving import guard

URGENT: ContextVar[bool] = ContextVar("urgent", default=True)
"""Whether somebody waits for the answer of this call; what is done in bulk goes behind."""
CALLS = "/v1/"
RETRY_AFTER_SECONDS = 1


class Admission:
    """Refuses calls before their body is read when too many wait; so what was let in is answered soon."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._waiting: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(CALLS):
            await self._app(scope, receive, send)
            return
        place, urgent = scope["path"], scope["state"].get("priority") != "bulk"
        most = self._limits.queue if urgent else self._limits.bulk_queue
        if self._waiting[place] >= most:
            error = _too_many("queue" if urgent else "bulk_queue", most)
            await guard.failure(error, guard.request_id(scope))(scope, receive, send)
            return
        URGENT.set(urgent)
        self._waiting[place] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._waiting[place] -= 1
            if not self._waiting[place]:
                del self._waiting[place]


def _too_many(limit: str, most: int) -> TooManyCalls:
    return TooManyCalls(
        "too many calls are waiting for this endpoint",
        retry_after=RETRY_AFTER_SECONDS,
        expected=f"at most {most} (limits.{limit} in policy/site.yaml)",
        next="call again after the seconds that Retry-After says",
    )
