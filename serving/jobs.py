"""`/v1/jobs`: a JSON Lines table in, its answers out when they are ready.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

import asyncio

from fastapi import FastAPI, Request, Response
from starlette.responses import FileResponse

from hotline.errors import RefusedError
from hotline.tasks import find
from serving import forms
from serving.access import rights
from serving.bodies import ErrorBody
from serving.bulk import Job, Jobs
from serving.calls import ERRORS
from serving.strict import MAX_NAME_CHARACTERS

PATH = "/v1/jobs"
LINES = "application/x-ndjson"
FORM = {
    "type": "object",
    "properties": {"task": {"type": "string", "description": "A task whose input is JSON"}},
    "required": ["task"],
}


def add(app: FastAPI, bulk: Jobs) -> None:
    """Add the routes."""

    @app.post(
        PATH,
        status_code=202,
        summary="Answer a table in the background; the same table is the same job",
        openapi_extra=forms.described(FORM, file="One input a line, as JSON (UTF-8)"),
        responses=ERRORS,
        tags=["jobs"],
    )
    async def create(request: Request) -> Job:
        form = await forms.read(request)
        forms.check_fields(form, {"task"})
        if "task" not in form.fields:
            forms.refuse("missing", "task", None)
        task = find(form.fields["task"][0][:MAX_NAME_CHARACTERS])
        rights.check_task(request.scope, task.name)
        return await asyncio.to_thread(bulk.create, task, form.content)

    async def find_job(request: Request, job: str) -> Job:
        found = await asyncio.to_thread(bulk.find, job)
        rights.check_task(request.scope, found.task)
        return found

    @app.get(f"{PATH}/{{job}}", summary="How far a job is", responses=ERRORS, tags=["jobs"])
    async def look(request: Request, job: str) -> Job:
        return await find_job(request, job)

    @app.get(
        f"{PATH}/{{job}}/result",
        summary="A line for every line of the table, in order",
        response_class=Response,
        responses={
            **ERRORS,
            200: {"content": {LINES: {"schema": {"type": "string"}}}, "description": "An answer or an error a line"},
            409: {"model": ErrorBody, "description": "The job is not done yet"},
        },
        tags=["jobs"],
    )
    async def result(request: Request, job: str) -> Response:
        found = await find_job(request, job)
        if found.status != "done":
            raise RefusedError(
                "the job is not done yet", found=f"{found.done} of {found.lines} lines", next=f"GET {PATH}/{{id}}"
            )
        return FileResponse(bulk.result(job), media_type=LINES)

    @app.delete(
        f"{PATH}/{{job}}",
        status_code=204,
        summary="Delete a job's table and its answers",
        responses=ERRORS,
        tags=["jobs"],
    )
    async def delete(request: Request, job: str) -> Response:
        await find_job(request, job)
        await bulk.delete(job)
        return Response(status_code=204)
