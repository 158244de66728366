"""`POST /v1/tasks/{task}/batch`: many inputs in one call, answered in order by one version.

No `from __future__ import annotations` here: FastAPI reads the types of routes that are made in a loop.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, NoReturn, TypeVar

from fastapi import Body as InBody
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hotline.errors import HotlineError, InputError, TooLarge
from hotline.policy import Limits
from hotline.task import Input, Task
from hotline.wishes import Wish
from serving import guard
from serving.bodies import Alternative, AnsweredBy, Body, Provenance
from serving.calls import ERRORS, CallId, answering
from serving.routes import Route
from serving.strict import StrictRoute
from serving.switchboard import Switchboard

log = logging.getLogger("ray.serve")

T = TypeVar("T", bound=BaseModel)
ROWS_AT_ONCE = 64
"""Of one batch; the others wait, so that single calls get between them."""


class Inputs(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: list[Any]


class RowProblem(Body):
    """Why a row has no answer."""

    code: str
    message: str
    where: str | None = None
    found: str | None = None
    expected: str | None = None
    next: str | None = None


class RowReply(Body, Generic[T]):
    """One row: its answer, or the error in its place."""

    index: int = Field(ge=0)
    answer: T | None = None
    confidence: float | None = None
    alternatives: list[Alternative[T]] | None = None
    answered_by: AnsweredBy = None
    error: RowProblem | None = None


class BatchReply(Body, Generic[T]):
    """One reply per input, in their order."""

    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    task: str
    answers: list[RowReply[T]]
    provenance: Provenance


def path(task: Task) -> str:
    return f"/v1/tasks/{task.name}/batch"


def add(app: FastAPI, task: Task, switchboard: Switchboard, limits: Limits) -> None:
    """Add the route of a task whose input is JSON."""
    reply_type: Any = BatchReply[task.target]  # type: ignore[name-defined]
    body = InBody(description=f"At most {limits.queue} inputs, as a list or under `inputs`")

    async def call(request: Request, given: Annotated[list[Any] | Inputs, body], x_call_id: CallId = None) -> Response:
        rows = given.inputs if isinstance(given, Inputs) else given
        refuse_too_many(rows, limits, "body")
        places = asyncio.Semaphore(ROWS_AT_ONCE)
        with answering(request, switchboard, task) as ours:

            async def one(number: int, row: Any) -> dict[str, Any]:
                async with places:
                    return {"index": number, **await answered(switchboard, ours.route, task, row)}

            answers = await asyncio.gather(*(one(*each) for each in enumerate(rows)))
        reply = reply_type(id=ours.id, task=task.name, answers=answers, provenance=ours.provenance)
        content = reply.model_dump_json(exclude_none=True)
        return Response(content, headers=ours.headers(x_call_id), media_type="application/json")

    app.router.add_api_route(
        path(task),
        call,
        methods=["POST"],
        response_model=reply_type,
        responses=ERRORS,
        summary=f"{task.name}: many inputs, in order, by one version",
        operation_id=f"{task.name}_batch",
        tags=["tasks"],
        route_class_override=StrictRoute,
    )


def refuse_too_many(inputs: Sequence[Any], limits: Limits, where: str) -> None:
    """Raises TooLarge for more inputs of one request than may wait at an endpoint."""
    if len(inputs) > limits.queue:
        raise TooLarge(
            "too many inputs in one request",
            where=where,
            found=len(inputs),
            expected=f"at most {limits.queue} (limits.queue in policy/site.yaml)",
            next="send them in parts, or as a job: POST /v1/jobs",
        )


async def asked(
    switchboard: Switchboard, route: Route, questions: Sequence[Input], wish: Wish
) -> list[Mapping[str, Any]]:
    """What the version says to each, in order. Raises what the first that fails raises; the others are given up."""
    places = asyncio.Semaphore(ROWS_AT_ONCE)

    async def one(question: Input) -> Mapping[str, Any]:
        async with places:
            return await switchboard.ask(route, question, wish=wish)

    asking = [asyncio.create_task(one(question)) for question in questions]
    try:
        return await asyncio.gather(*asking)
    finally:
        for each in asking:
            each.cancel()


async def answered(switchboard: Switchboard, route: Route, task: Task, row: Any) -> Mapping[str, Any]:
    """`answer`, `confidence` and `alternatives` of one row in plain values, or `error`."""
    try:
        return await switchboard.ask(route, task.input.model_validate(row))
    except ValidationError as error:
        detail = guard.detail(dict(error.errors(include_url=False)[0]))
        return {"error": InputError("the input is not what the task declares", **detail.model_dump()).as_dict()}
    except HotlineError as error:
        return {"error": error.as_dict()}
    except Exception:
        log.exception("a row failed")
        return {"error": guard.internal().as_dict()}


def refuse(task: Task) -> NoReturn:
    """Raises InputError: recordings come one at a time."""
    raise InputError(
        "recordings are answered one at a time", where=path(task), next=f"POST /v1/tasks/{task.name} for each"
    )
