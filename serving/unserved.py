"""OpenAI's routes that no declared task can answer yet: they say which task would be needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Response

from hotline.errors import UnknownName

NEEDED = {
    "/v1/moderations": ("a task that finds what must not be published", "moderations"),
}


def add(app: FastAPI) -> None:
    """Add the routes: each is answered 404 in the shape of every error."""
    for path, (needed, name) in NEEDED.items():
        app.router.add_api_route(path, _refusing(path, needed), methods=["POST"], name=name, include_in_schema=False)


def _refusing(path: str, needed: str) -> Callable[[], Awaitable[Response]]:
    async def refuse() -> Response:
        raise UnknownName(
            "no task of this kind is declared here", where=path, found="none", expected=needed, next="GET /v1/tasks"
        )

    return refuse
