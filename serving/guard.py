"""Between the wire and the routes: body limits, and one shape for every error. Pure ASGI."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hotline import requests
from hotline.errors import HotlineError, InputError, TooLarge, TooManyCalls, UnavailableError, UnknownName
from hotline.policy import Limits
from serving import hangups
from serving.bodies import Detail, ErrorBody, Problem, problem
from serving.strict import MAX_NAME_CHARACTERS, Raised

log = logging.getLogger("ray.serve")

MAX_DETAILS = 20
RETRY_AFTER_SECONDS = 1
HELD_BODIES = 8
"""Recordings of the largest size that one ingress holds at once; more are answered 503."""


def request_id(scope: Scope) -> str:
    """The id of this request: its answer's when a version answered, else a bare stamp."""
    return str(scope["state"].get("request_id") or scope["state"]["stamp"])


def failure(error: HotlineError, request_id: str, status: int | None = None) -> Response:
    """The HTTP answer that tells this error, with the status of its kind unless another is given."""
    seconds = error.retry_after if isinstance(error, TooManyCalls) else RETRY_AFTER_SECONDS
    headers = {"Retry-After": str(seconds)} if isinstance(error, UnavailableError | TooManyCalls) else {}
    return answer(problem(error, request_id), status or error.http_status, headers)


def answer(body: ErrorBody, status: int, headers: dict[str, str] | None = None) -> Response:
    named = {"X-Request-Id": body.error.request_id, **(headers or {})}
    return Response(body.model_dump_json(), status, named, media_type="application/json")


class Guard:
    """Behind the door: reads the request's body up to the limit, answers every error as JSON."""

    def __init__(self, app: ASGIApp, limits: Limits, large_paths: Collection[str]) -> None:
        self._app, self._limits, self._large_paths = app, limits, large_paths
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {}).setdefault("stamp", requests.stamp())
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        body = b""
        try:
            body = await self._read(scope, receive)
            self._hold(len(body))
            await hangups.answer(self._app, scope, body, receive, watched)
        except (TooLarge, UnavailableError) as error:
            await failure(error, request_id(scope))(scope, receive, send)
        except Exception:
            log.exception("request %s failed", request_id(scope))
            if started:
                raise
            await failure(internal(), request_id(scope))(scope, receive, send)
        finally:
            self._held -= len(body)

    def _hold(self, size: int) -> None:
        """Count a body as being worked on. Raises UnavailableError when recordings would fill the memory."""
        self._held += size
        if size > self._limits.body_bytes and self._held > HELD_BODIES * self._limits.audio_bytes:
            raise UnavailableError("too many recordings are being worked on", where="body", next="try again in a while")

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises TooLarge as soon as the header or the bytes so far say so."""
        name = "audio_bytes" if scope["path"] in self._large_paths else "body_bytes"
        limit = int(getattr(self._limits, name))
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
            raise _too_large(f"{declared[:18]} bytes declared", name, limit)
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > limit:
                raise _too_large(f"more than {limit} bytes", name, limit)
            parts.append(part)
        return b"".join(parts)


def _too_large(found: str, name: str, limit: int) -> TooLarge:
    one = "send one input per call; `hotline predict` sends a whole table, /v1/jobs takes one"
    return TooLarge(
        "the body is too large",
        where="body",
        found=found,
        expected=f"at most {limit} bytes (limits.{name} in policy/site.yaml)",
        next="send a recording as ogg/opus or mp3, a table in parts" if name == "audio_bytes" else one,
    )


def internal() -> HotlineError:
    return HotlineError("something went wrong on our side", next="report the request id; the server's log has the rest")


async def on_error(request: Request, error: Exception) -> Response:
    """For FastAPI: our own errors."""
    known = error.error if isinstance(error, Raised) else error
    return failure(known if isinstance(known, HotlineError) else internal(), request_id(request.scope))


async def on_http_error(request: Request, error: Exception) -> Response:
    """For FastAPI: what the router refuses."""
    if isinstance(error, Raised) or not isinstance(error, HTTPException):
        return await on_error(request, error)
    ours, path = request_id(request.scope), request.url.path[:MAX_NAME_CHARACTERS]
    if error.status_code == 404:
        return failure(UnknownName("there is no such address", where=path, next="see /docs"), ours)
    headers = {**(error.headers or {}), **({"Allow": _allowed(request)} if error.status_code == 405 else {})}
    body = Problem(
        code="method_not_allowed" if error.status_code == 405 else "bad_request",
        message="this address does not take that method" if error.status_code == 405 else "the request is not valid",
        where=path,
        found=request.method[:MAX_NAME_CHARACTERS],
        expected=headers.get("Allow"),
        next="see /docs",
        request_id=ours,
    )
    return answer(ErrorBody(error=body), error.status_code, headers)


def _allowed(request: Request) -> str:
    """Every method that the address takes; the router itself names those of the first route that has it."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    return ", ".join(sorted({method for route in routes for method in getattr(route, "methods", None) or ()}))


async def on_invalid(request: Request, error: Exception) -> Response:
    """For FastAPI: a body or header that is not what the task declares; never repeats the caller's values."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    details = [detail(entry) for entry in found[:MAX_DETAILS]]
    body = Problem(
        code=InputError.code,
        message="the request is not what the task declares",
        where=details[0].where if details else None,
        found=details[0].found if details else None,
        expected=details[0].expected if details else None,
        next="see /docs for the fields and an example",
        request_id=request_id(request.scope),
        details=details,
    )
    return answer(ErrorBody(error=body), InputError.http_status)


def detail(entry: dict[str, Any]) -> Detail:
    """One error of pydantic, without the value that was given."""
    if entry["type"] == "missing":
        return Detail(where=_place(entry["loc"]), found="nothing", expected="a value: the field is required")
    if entry["type"] == "extra_forbidden":
        return Detail(where=_place(entry["loc"]), found="an unknown field", expected="only declared fields")
    return Detail(where=_place(entry["loc"]), found=_kind(entry.get("input")), expected=str(entry["msg"]))


def _place(location: Sequence[Any]) -> str:
    return ".".join(str(part)[:MAX_NAME_CHARACTERS] for part in location)


def _kind(value: Any) -> str:
    """Type and size of a value, never the value."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return {bool: "true or false", int: "a number", float: "a number", type(None): "null"}.get(type(value), "a value")
