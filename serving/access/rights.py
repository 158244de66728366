"""What each address wants of a key. What is not listed wants an admin's: a new route is closed until it is listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import Scope

from hotline.errors import NotAllowed
from serving.access.records import Issued, Role

OPEN = "/healthz"
"""Says that the process lives, and nothing else; what watches processes holds no keys."""
ANY: frozenset[Role] = frozenset({"call", "metrics", "admin"})
CALL: frozenset[Role] = frozenset({"call"})
METRICS: frozenset[Role] = frozenset({"metrics"})
ADMIN: frozenset[Role] = frozenset({"admin"})
TASKS = "/v1/tasks"
EXACT = {
    TASKS: ANY,
    "/": ANY,
    "/docs": ANY,
    "/openapi.json": ANY,
    "/readyz": ANY,
    "/metrics": METRICS,
    "/v1/drift": METRICS,
    "/v1/load": ANY,
    "/v1/models": ANY,
    "/v1/chat/completions": CALL,
    "/v1/audio/transcriptions": CALL,
    "/v1/decisions": CALL,
    "/v1/embeddings": CALL,
    "/v1/feedback": CALL,
    "/v1/jobs": CALL,
    "/v1/moderations": CALL,
}
UNDER = {"/docs/": ANY, "/page/": ANY, "/v1/models/": ANY, "/v1/jobs/": CALL, f"{TASKS}/": CALL}


@dataclass(frozen=True)
class Right:
    """One of these roles is wanted; `place` is the address without what a caller put into it."""

    place: str
    roles: frozenset[Role]


_EXACT = {path: Right(path, roles) for path, roles in EXACT.items()}
_UNDER = [Right(prefix, roles) for prefix, roles in UNDER.items()]
_OTHER = Right("other", ADMIN)


def of(path: str) -> Right:
    """What that address wants."""
    if path in _EXACT:
        return _EXACT[path]
    return next((right for right in _UNDER if path.startswith(right.place)), _OTHER)


def describe(app: FastAPI) -> None:
    """Have the OpenAPI document say that every route but one wants a key."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        document["components"]["securitySchemes"] = {"access key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"access key": []}]
        for operation in document["paths"][OPEN].values():
            operation["security"] = []
        return document

    app.openapi = described  # type: ignore[method-assign]


def check(key: Issued, right: Right) -> None:
    """Raises NotAllowed unless the key has one of the roles."""
    if right.roles.isdisjoint(key.roles):
        raise NotAllowed(
            "this access key is not for this address",
            found=f"roles {', '.join(key.roles)}",
            expected="the role " + " or ".join(sorted(right.roles)),
            next="ask the site's operator for a key with that role",
        )


def check_task(scope: Scope, task: str) -> None:
    """For routes: raises NotAllowed unless the request's key may ask that task. Without required access all may."""
    key: Any = scope["state"].get("key")
    if isinstance(key, Issued) and key.tasks is not None and task not in key.tasks:
        raise NotAllowed(
            "this access key is not for this task",
            found=f"tasks {', '.join(key.tasks)}",
            next="ask the site's operator for a key with that task",
        )
