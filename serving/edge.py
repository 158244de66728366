"""In front of Ray Serve's own HTTP proxy: one request id per answer, and JSON even for the proxy's own errors.

Ray Serve calls `middlewares` in its proxy process, by the name that serving/run.py puts into the environment.
"""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hotline import requests
from hotline.errors import HotlineError, UnavailableError
from serving import guard

log = logging.getLogger("ray.serve")

RAYS_OWN = ("x-request", "x-session", "x-serve", "serve-")
"""Headers by which a caller could steer Ray Serve's routing and time-outs: they end here."""


def middlewares() -> list[Middleware]:
    return [Middleware(Edge)]


class Edge:
    """The outermost layer of the proxy process."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [pair for pair in scope["headers"] if not _is_rays(pair[0])]
        answer = _Answer(scope, receive, send)
        try:
            await self._app({**scope, "headers": headers}, receive, answer.send)
        except Exception:
            log.exception("the proxy failed")
            if answer.started:
                raise
            await answer.tell(503)


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._replaced = False
        self.started = False

    async def send(self, message: Message) -> None:
        """Pass the message on; the proxy's own id and its plain-text errors are replaced by ours."""
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            if message["status"] >= 400 and not headers.get("content-type", "").startswith("application/json"):
                self._replaced = True
                await self.tell(message["status"])
                return
            message = {**message, "headers": _one_id(message["headers"])}
            self.started = True
        await self._send(message)

    async def tell(self, status: int) -> None:
        error: HotlineError = HotlineError("the request is not valid", next="see /docs")
        if status in (408, 429) or status >= 500:  # the ingress says JSON: this is a proxy that did not reach it
            error = UnavailableError("the endpoints are not answering at the moment", next="try again in a second")
            status = 503 if status == 500 else status
        await guard.failure(error, str(requests.stamp()), status)(self._scope, self._receive, self._send)


def _is_rays(name: bytes) -> bool:
    return name.decode("latin-1").lower().replace("_", "-").startswith(RAYS_OWN)


def _one_id(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without the id that Ray appends after ours."""
    ids = [pair for pair in headers if pair[0].lower() == b"x-request-id"]
    return [pair for pair in headers if pair not in ids[1:]] if len(ids) > 1 else headers
