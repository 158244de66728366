"""The ingress: one typed route per declared task, JSON or a form with a recording as its input says.

No `from __future__ import annotations` here: FastAPI reads the types of routes that are made in a loop.
"""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from ray import serve
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from hotline.errors import HotlineError
from hotline.policy import SitePolicy
from hotline.task import Task
from hotline.tasks import TASKS, find
from serving import batches, chat, decisions, embeddings, forms, guard, jobs, moderations, pages, transcriptions
from serving.access import rights
from serving.access.door import Door
from serving.admission import Admission
from serving.bodies import Reply
from serving.bulk import Jobs
from serving.calls import ERRORS, CallId, answering
from serving.capture import feedback
from serving.capture import store as captured
from serving.capture.tap import Tap
from serving.listener import DRAIN_SECONDS, Address, Listener
from serving.recordings import Recordings
from serving.rollout import callers
from serving.rollout.mirror import Mirror
from serving.strict import MAX_NAME_CHARACTERS, StrictRoute
from serving.switchboard import Switchboard
from serving.watch import exposition
from serving.watch.middleware import Watched
from serving.watch.watching import Watch

LARGE_PATHS = {
    transcriptions.PATH,
    jobs.PATH,
    embeddings.PATH,
    *(f"/v1/tasks/{task.name}" if task.audio_field else batches.path(task) for task in TASKS.values()),
}
"""Whose bodies may be as large as a recording: recordings, and many inputs at once."""

HEALTH_SECONDS = 2.0
"""A process that was killed is found missing after so long, and started again."""


class Ingress:
    """One ingress replica: Ray Serve starts, watches and ends it; calls reach it through a socket of its own."""

    async def __init__(self, site: SitePolicy, state: Path, address: Address) -> None:  # type: ignore[misc]
        switchboard = Switchboard(uuid.uuid4().hex, callers.Callers(site.site), Mirror(site.rollout))
        self._listener = Listener(build(site, switchboard, state), address)
        await self._listener.open()

    def check_health(self) -> None:
        """For Ray Serve, which starts an ingress anew that does not listen. Raises UnavailableError."""
        self._listener.check()

    async def __del__(self) -> None:  # Ray Serve awaits it
        if hasattr(self, "_listener"):
            await self._listener.close()


def application(site: SitePolicy, state: Path, address: Address, replicas: int = 1) -> Any:
    """The Ray Serve application of the ingress."""
    deployment: Any = serve.deployment(
        Ingress,
        name="Ingress",
        num_replicas=replicas,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=DRAIN_SECONDS + 5,
        health_check_period_s=HEALTH_SECONDS,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(site, state, address)


def build(site: SitePolicy, switchboard: Switchboard, state: Path) -> FastAPI:
    """The ASGI application that answers by that switchboard and keeps its jobs under `state`."""
    bulk, watch = Jobs(state / "jobs", switchboard, site.limits), Watch(switchboard, state, site)
    app = FastAPI(
        title="Hotline endpoints",
        description="Every answer names the version that gave it and the evidence that it stands on.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda _: watch.beside(bulk.running()),
        middleware=[
            Middleware(Watched, watch=watch),
            Middleware(Door, site=site, state=state),
            Middleware(Admission, limits=site.limits),
            Middleware(guard.Guard, limits=site.limits, large_paths=LARGE_PATHS),
            Middleware(callers.Heard, switchboard=switchboard),
            Middleware(Tap, site=site, path=state / captured.FILE),
        ],
        exception_handlers={
            HotlineError: guard.on_error,
            HTTPException: guard.on_http_error,
            RequestValidationError: guard.on_invalid,
        },
    )
    recordings = Recordings(site, switchboard)
    for task in TASKS.values():
        if task.audio_field:
            _add_recording_task(app, task, switchboard, recordings)
        else:
            _add_task(app, task, switchboard)
            batches.add(app, task, switchboard, site.limits)
    _add_unknown_task(app)
    transcriptions.add(app, switchboard, recordings)
    decisions.add(app, switchboard)
    moderations.add(app, switchboard, site.limits)
    jobs.add(app, bulk)
    feedback.add(app, site, captured.Store(state / captured.FILE))
    chat.add(app, switchboard)
    embeddings.add(app, switchboard, site.limits)
    pages.add_listings(app, switchboard)
    pages.add_health(app, switchboard)
    exposition.add(app, switchboard, watch.rows)
    exposition.add_drift(app, watch.drift)
    pages.add_openapi_page(app)
    pages.add_front_page(app)
    if site.access == "required":
        rights.describe(app)
    return app


def _add_task(app: FastAPI, task: Task, switchboard: Switchboard) -> None:
    reply_type: Any = Reply[task.target]  # type: ignore[name-defined]
    examples = {f"example {n}": {"value": dict(example)} for n, example in enumerate(task.examples, start=1)}

    async def call(
        request: Request,
        question: Annotated[task.input, Body(openapi_examples=examples)],  # type: ignore[name-defined]
        x_call_id: CallId = None,
    ) -> Response:
        with answering(request, switchboard, task) as ours:
            said = await switchboard.ask(ours.route, question)
        reply = reply_type(id=ours.id, task=task.name, provenance=ours.provenance, **said)
        headers = ours.headers(x_call_id, said.get("answered_by"))
        return Response(reply.model_dump_json(exclude_unset=True), headers=headers, media_type="application/json")

    _add_route(app, task, call, route_class_override=StrictRoute)


def _add_recording_task(app: FastAPI, task: Task, switchboard: Switchboard, recordings: Recordings) -> None:
    """As a task route, with the input's recording as the form's `file` and its other fields beside it."""
    reply_type: Any = Reply[task.target]  # type: ignore[name-defined]
    names = set(task.input.model_fields) - {task.audio_field}

    async def call(request: Request, x_call_id: CallId = None) -> Response:
        form = await forms.read(request)
        forms.check_fields(form, names)
        others = {name: values[0] for name, values in form.fields.items()}
        with answering(request, switchboard, task) as ours:
            said, _ = await recordings.answer(task, ours.route, form.content, others)
        reply = reply_type(id=ours.id, task=task.name, provenance=ours.provenance, **said)
        return Response(reply.model_dump_json(), headers=ours.headers(x_call_id), media_type="application/json")

    described = forms.described(task.input.model_json_schema(), task.audio_field)
    _add_route(app, task, call, openapi_extra=described, route_class_override=APIRoute)


def _add_route(app: FastAPI, task: Task, call: Callable[..., Any], **how: Any) -> None:
    app.router.add_api_route(
        f"/v1/tasks/{task.name}",
        call,
        methods=["POST"],
        response_model=Reply[task.target],  # type: ignore[name-defined]
        responses=ERRORS,
        summary=task.summary.splitlines()[0],
        description=task.summary,
        operation_id=task.name,
        tags=["tasks"],
        **how,
    )


def _add_unknown_task(app: FastAPI) -> None:
    @app.post("/v1/tasks/{task}", include_in_schema=False)
    async def unknown(task: str) -> Response:
        find(task[:MAX_NAME_CHARACTERS])
        raise HTTPException(404)  # a declared name with something after it

    @app.post("/v1/tasks/{task}/batch", include_in_schema=False)
    async def no_batch(task: str) -> Response:
        batches.refuse(find(task[:MAX_NAME_CHARACTERS]))
