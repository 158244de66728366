"""The outermost layer of an ingress: every request is counted, timed, logged and traced, whatever becomes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.watch.listening import REQUEST, Request, version

if TYPE_CHECKING:
    from serving.routes import Route
    from serving.watch.meters import Meters

GONE = 499
"""The status of a request that was never answered: its caller hung up."""


class Watched:
    """Pure ASGI: it looks at the status that passes, and at what the routes have written into the request's state."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app, self._meters = app, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), GONE
        request, state = Request(), scope.setdefault("state", {})
        REQUEST.set(request)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            self._count(state.get("route"), status, time.perf_counter() - began, request)

    def _count(self, route: Route | None, status: int, seconds: float, request: Request) -> None:
        labels = version(route) if route else ("", "")
        self._meters("hotline_requests_total", *labels, str(status)).inc()
        if route:
            self._meters("hotline_request_seconds", *labels).observe(seconds)
            if request.audio_seconds:
                self._meters("hotline_real_time_factor", *labels).observe(seconds / request.audio_seconds)
