"""`POST /v1/feedback`: somebody who knows better corrects an answer, by its request id.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hotline import requests, tasks
from hotline.errors import RefusedError, UnknownName
from hotline.policy import SitePolicy
from hotline.requests import MAX_CHARACTERS
from hotline.task import Task
from serving.access import rights
from serving.bodies import Body, ErrorBody
from serving.calls import ERRORS
from serving.capture import sealing
from serving.capture.store import Store
from serving.strict import StrictRoute

PATH = "/v1/feedback"


class Correction(BaseModel):
    """The answer as it should have been."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(max_length=MAX_CHARACTERS, description="`id` of the answer, or its X-Request-Id")]
    answer: Annotated[dict[str, Any], Field(description="Every field of the task's answer, as it is right")]


class Received(Body):
    """The correction is kept, encrypted, for as long as the call that it is about."""

    id: str
    task: str
    status: Literal["kept"] = "kept"
    expires: int = Field(description="When both are deleted, in seconds since 1970")


def add(app: FastAPI, site: SitePolicy, store: Store) -> None:
    """Add the route."""

    async def correct(request: Request, correction: Correction) -> Received:
        if site.capture is None:
            raise RefusedError(
                "this site keeps no calls, so none can be corrected", next="capture in policy/site.yaml, by review"
            )
        task = tasks.find(requests.parse(correction.id).task)
        rights.check_task(request.scope, task.name)
        answer = _typed(task, correction.answer).encode()
        call = await asyncio.to_thread(store.find, correction.id.strip())
        if call is None:
            raise UnknownName(
                "no call with that request id is kept here",
                where="body.id",
                found="another site's, one that was not sampled, or one whose time has passed",
                expected=f"an answer of this site of the last {site.capture.days} days",
            )
        key = getattr(request.scope["state"].get("key"), "id", "")
        sealed = sealing.seal(site.capture.public_key, answer, (site.site, "correction", call.id))
        await asyncio.to_thread(store.correct, call.id, key, sealed)
        return Received(id=call.id, task=task.name, expires=int(call.expires))

    app.router.add_api_route(
        PATH,
        correct,
        methods=["POST"],
        status_code=202,
        response_model=Received,
        responses={**ERRORS, 409: {"model": ErrorBody, "description": "This site keeps no calls"}},
        summary="Correct an answer: the correction goes to the annotators with the call",
        operation_id="feedback",
        tags=["tasks"],
        route_class_override=StrictRoute,
    )


def _typed(task: Task, answer: dict[str, Any]) -> str:
    """The answer as JSON. Raises RequestValidationError unless it is one of the task's."""
    try:
        return task.target.model_validate(answer).model_dump_json(exclude_unset=True)
    except ValidationError as error:
        found = [{**each, "loc": ("body", "answer", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(found) from error
