"""What every route that answers does: find the version, name the request, say in headers who answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Header, Request

from hotline import requests
from hotline.errors import UnavailableError, UnknownName
from hotline.task import Task
from hotline.tasks import TASKS
from serving.access import rights
from serving.bodies import ErrorBody, Provenance
from serving.rollout.callers import CALL_ID, CALLER
from serving.routes import Route, RouteMap
from serving.strict import MAX_NAME_CHARACTERS
from serving.switchboard import Switchboard

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": words}
    for status, words in {
        400: "Broken JSON, or a broken form",
        401: "No access key, or one that does not hold",
        403: "The access key is not for this",
        404: "No such task or model",
        405: "No such method",
        413: "Body or recording over the site's limit",
        415: "Not the media type that this address takes",
        422: "Unknown fields, wrong types, text too long, not a recording",
        429: "Too many calls wait, or more than the access key has; Retry-After says when again",
        500: "A defect of ours",
        503: "No champion, or it does not answer now",
    }.items()
}
EVENTS = "text/event-stream"
EVENT = {"schema": {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}}
"""Of each event, as OpenAPI 3.2 describes a stream; `data` is JSON or `[DONE]`."""
CallId = Annotated[
    str | None,
    Header(
        pattern=CALL_ID,
        description="The hotline's own number of the call; given back. One version answers all of a call",
    ),
]


@dataclass(frozen=True)
class Call:
    """One call, the version that answers it, and the id of its answer."""

    id: str
    route: Route

    @property
    def provenance(self) -> Provenance:
        return Provenance.of(self.route)

    def headers(self, call_id: str | None, answered_by: str | None = None) -> dict[str, str]:
        headers = {
            "X-Request-Id": self.id,
            "X-Model": quote(self.route.line),
            "X-Model-Version": quote(self.route.version),
            "X-Model-Digest": self.route.digest,
            "X-Verdict": self.route.verdict,
        }
        more = {"X-Call-Id": call_id, "X-Answered-By": answered_by}
        return headers | {name: value for name, value in more.items() if value}


@contextmanager
def answering(request: Request, switchboard: Switchboard, task: Task) -> Iterator[Call]:
    """The call; its version stays inside of this context. Raises UnavailableError when the task has none."""
    rights.check_task(request.scope, task.name)
    with switchboard.call() as known:
        route = CALLER.get().routes(known).get(task.name)
        if route is None:
            raise _unserved(task.name, known)
        with switchboard.load.of(task.name):
            yield _named(request, route)


def answering_model(
    request: Request, switchboard: Switchboard, model: str, family: str
) -> AbstractContextManager[Call]:
    """The same for a served version of that family, by its line, `line@version`, or its task.

    Raises UnknownName unless it is one version of one task, UnavailableError for a task without one.
    """
    tasks = [task for task in TASKS.values() if task.family == family]
    return answering_one_of(request, switchboard, model, tasks, family)


@contextmanager
def answering_one_of(
    request: Request, switchboard: Switchboard, model: str | None, tasks: Sequence[Task], kind: str
) -> Iterator[Call]:
    """The same for a served version of one of these tasks; without a name for the only one. `kind` says what they are.

    Raises UnknownName unless it is one version of one task, UnavailableError for a task without one.
    """
    own = [task.name for task in tasks]
    with switchboard.call() as known:
        seen = CALLER.get().routes(known)
        served = [route for route in seen.values() if route.task in own]
        found = [route for route in served if model is None or model in names(route)]
        missing = own[0] if model is None and own else model
        if missing and (known.number == 0 or (missing in own and not found)):
            raise _unserved(missing, known)
        if len(found) != 1:
            raise _not_one(model, tasks, kind, found, served, seen.values())
        rights.check_task(request.scope, found[0].task)
        with switchboard.load.of(found[0].task):
            yield _named(request, found[0])


def names(route: Route) -> tuple[str, str, str]:
    """What callers may call a version: its line, `line@version`, its task."""
    return route.line, f"{route.line}@{route.version}", route.task


def _not_one(
    model: str | None,
    tasks: Sequence[Task],
    kind: str,
    found: Sequence[Route],
    served: Sequence[Route],
    seen: Iterable[Route],
) -> UnknownName:
    """Why that name is not one served version of one of these tasks, and which names are."""
    others = {TASKS[route.task].family for route in seen if model in names(route)}
    others |= {TASKS[model].family} if model is not None and model in TASKS else set()
    others -= {task.family for task in tasks}
    unknown = f"that model is a {others.pop()}" if others else "no such model answers here"
    several = "several tasks are answered by that model" if model else "several models answer this: name one"
    listed = [name for route in found or served for name in (names(route)[2:] if found else names(route))]
    return UnknownName(
        several if found else unknown,
        where="body.model",
        found="nothing" if model is None else model[:MAX_NAME_CHARACTERS],
        expected=f"one of {', '.join(dict.fromkeys(listed))}" if listed else f"a served {kind}: there is none",
        next="GET /v1/models",
    )


def _named(request: Request, route: Route) -> Call:
    ours = requests.make(route.task, route.digest, route.promotion, request.scope["state"]["stamp"])
    request.scope["state"] |= {"request_id": ours, "route": route}
    return Call(ours, route)


def _unserved(task: str, known: RouteMap) -> UnavailableError:
    task, starting = task[:MAX_NAME_CHARACTERS], known.number == 0
    return UnavailableError(
        f"{task} has no version that may answer",
        where=f"/v1/tasks/{task}",
        found=known.why_not(task),
        expected="a promoted version with a passed verdict",
        next="ask /readyz" if starting else f"hotline judge a candidate, then hotline promote it for {task}",
    )
