"""The outermost layer of an ingress: every request is counted, timed, logged and traced, whatever becomes of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.watch.listening import REQUEST, Request, version

if TYPE_CHECKING:
    from serving.routes import Route
    from serving.watch.watching import Watch

GONE = 499
"""The status of a request that was never answered: its caller hung up."""


class Watched:
    """Pure ASGI: it looks at the status that passes, and at what the routes have written into the request's state."""

    def __init__(self, app: ASGIApp, watch: Watch) -> None:
        self._app, self._watch, self._meters = app, watch, watch.meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), GONE
        request = Request()
        scope.setdefault("state", {})
        REQUEST.set(request)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        headers = Headers(scope=scope) if self._watch.traces.on else {}
        with self._watch.traces.request(headers) as span:
            try:
                await self._app(scope, receive, watched)
            finally:
                self._tell(scope, request, status, time.perf_counter() - began, span)

    def _tell(self, scope: Scope, request: Request, status: int, seconds: float, span: Any) -> None:
        state, method = scope["state"], scope["method"]
        route: Route | None = state.get("route")
        task, name = version(route) if route else ("", "")
        self._meters("hotline_requests_total", task, name, str(status)).inc()
        if route:
            self._meters("hotline_request_seconds", task, name).observe(seconds)
            if request.audio_seconds:
                self._meters("hotline_real_time_factor", task, name).observe(seconds / request.audio_seconds)
        path = getattr(scope.get("route"), "path", "")  # as it was declared: what a caller sends may be anything
        named = str(state.get("request_id") or state.get("stamp") or "")
        fields = {"task": task, "version": name, "route": path, "method": method, "status": status}
        trace = f"{span.get_span_context().trace_id:032x}" if span else None
        more = {"dialect": request.dialect, "audio_seconds": round(request.audio_seconds, 2) or None, "trace": trace}
        self._watch.log.add(id=named, **fields, ms=round(seconds * 1000, 1), **more)
        if span:
            span.update_name(f"{method} {path}".strip())
            span.set_attributes({"http.request.method": method, "http.route": path, "hotline.request_id": named})
            span.set_attributes({"http.response.status_code": status, "hotline.task": task, "hotline.version": name})
            if status >= 500:
                span.set_status(StatusCode.ERROR)
