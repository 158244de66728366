"""The ingress: one typed route per declared task.

No `from __future__ import annotations` here: FastAPI reads the types of routes that are made in a loop.
"""

import uuid
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from ray import serve
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from hotline import requests
from hotline.errors import HotlineError, UnavailableError
from hotline.policy import SitePolicy
from hotline.task import Task
from hotline.tasks import TASKS, find
from serving import guard, pages
from serving.bodies import ErrorBody, Provenance, Reply
from serving.routes import Route, RouteMap
from serving.strict import MAX_NAME_CHARACTERS, StrictRoute
from serving.switchboard import Switchboard, running

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": words}
    for status, words in {
        400: "Broken JSON",
        404: "No such task",
        405: "No such method",
        413: "Body over the site's limit",
        415: "Not JSON",
        422: "Unknown fields, wrong types, text too long",
        500: "A defect of ours",
        503: "No champion, or too many calls waiting",
    }.items()
}
CallId = Annotated[
    str | None,
    Header(pattern=r"^[A-Za-z0-9._:-]{1,128}$", description="The hotline's own number of the call; given back"),
]


@serve.ingress()
class Ingress:
    """One ingress replica."""

    def __init__(self, site: SitePolicy) -> None:
        self._site, self._switchboard = site, Switchboard(uuid.uuid4().hex)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build(self._site, self._switchboard)


def application(site: SitePolicy, replicas: int = 1) -> Any:
    """The Ray Serve application of the ingress."""
    deployment: Any = serve.deployment(
        Ingress,
        name="Ingress",
        num_replicas=replicas,
        max_ongoing_requests=2 * site.limits.queue,
        max_queued_requests=site.limits.queue,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=30,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(site)


def build(site: SitePolicy, switchboard: Switchboard) -> FastAPI:
    """The ASGI application that answers by that switchboard."""
    app = FastAPI(
        title="Hotline endpoints",
        description="Every answer names the version that gave it and the evidence that it stands on.",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda _: running(switchboard),
        middleware=[Middleware(guard.Guard, body_bytes=site.limits.body_bytes)],
        exception_handlers={
            HotlineError: guard.on_error,
            HTTPException: guard.on_http_error,
            RequestValidationError: guard.on_invalid,
        },
    )
    for task in TASKS.values():
        _add_task(app, task, switchboard)
    _add_unknown_task(app)
    pages.add_listings(app, switchboard)
    pages.add_health(app, switchboard)
    pages.add_openapi_page(app)
    return app


def _add_task(app: FastAPI, task: Task, switchboard: Switchboard) -> None:
    reply_type: Any = Reply[task.target]  # type: ignore[name-defined]
    examples = {f"example {n}": {"value": dict(example)} for n, example in enumerate(task.examples, start=1)}

    async def call(
        request: Request,
        question: Annotated[task.input, Body(openapi_examples=examples)],  # type: ignore[name-defined]
        x_call_id: CallId = None,
    ) -> Response:
        known = switchboard.map
        route = known.routes.get(task.name)
        if route is None:
            raise _unserved(task.name, known)
        ours = requests.make(task.name, route.digest, route.promotion, request.scope["state"]["stamp"])
        request.scope["state"]["request_id"] = ours
        said = await switchboard.ask(route, known.number, question)
        reply = reply_type(id=ours, task=task.name, provenance=Provenance.of(route), **said)
        return Response(
            reply.model_dump_json(), headers=_headers(route, ours, x_call_id), media_type="application/json"
        )

    app.router.add_api_route(
        f"/v1/tasks/{task.name}",
        call,
        methods=["POST"],
        response_model=reply_type,
        responses=ERRORS,
        summary=task.summary.splitlines()[0],
        description=task.summary,
        operation_id=task.name,
        tags=["tasks"],
        route_class_override=StrictRoute,
    )


def _headers(route: Route, ours: str, call_id: str | None) -> dict[str, str]:
    headers = {
        "X-Request-Id": ours,
        "X-Model": quote(route.line),
        "X-Model-Version": quote(route.version),
        "X-Model-Digest": route.digest,
        "X-Verdict": route.verdict,
    }
    return {**headers, "X-Call-Id": call_id} if call_id else headers


def _unserved(task: str, known: RouteMap) -> UnavailableError:
    starting = known.number == 0
    return UnavailableError(
        f"{task} has no version that may answer",
        where=f"/v1/tasks/{task}",
        found=known.why_not(task),
        expected="a promoted version with a passed verdict",
        next="ask /readyz" if starting else f"hotline judge a candidate, then hotline promote it for {task}",
    )


def _add_unknown_task(app: FastAPI) -> None:
    @app.post("/v1/tasks/{task}", include_in_schema=False)
    async def unknown(task: str) -> Response:
        find(task[:MAX_NAME_CHARACTERS])
        raise HTTPException(404)  # a declared name with something after it
