"""The ingress: one typed route per declared task, listings, health, and an OpenAPI page that works offline.

No `from __future__ import annotations` here: FastAPI reads the types of routes that are made in a loop.
"""

import uuid
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from ray import serve
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from hotline import requests
from hotline.errors import HotlineError, UnavailableError
from hotline.policy import SitePolicy
from hotline.task import Task
from hotline.tasks import TASKS, find
from serving import guard
from serving.bodies import (
    ErrorBody,
    ListedModel,
    ListedTask,
    Liveness,
    ModelList,
    Provenance,
    Readiness,
    Reply,
    TaskList,
)
from serving.routes import Route
from serving.switchboard import SILENCE_SECONDS, Switchboard, running

PAGE = "/docs"
OPENAPI_OF_THE_PAGE = "3.0.3"
"""The bundled Swagger UI 4 draws 3.0 only; /openapi.json itself stays at FastAPI's 3.1."""
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


class StrictRoute(APIRoute):
    """A route that takes JSON and nothing else, read strictly."""

    def get_route_handler(self) -> Any:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            guard.check_media_type(request)
            return await handler(guard.StrictRequest(request.scope, request.receive))

        return strict


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
    _add_listings(app, switchboard)
    _add_health(app, switchboard)
    _add_page(app)
    return app


def _add_task(app: FastAPI, task: Task, switchboard: Switchboard) -> None:
    examples = {f"example {n}": {"value": dict(example)} for n, example in enumerate(task.examples, start=1)}

    async def call(
        request: Request,
        question: Annotated[task.input, Body(openapi_examples=examples)],  # type: ignore[name-defined]
        x_call_id: CallId = None,
    ) -> Response:
        known = switchboard.map
        route = known.routes.get(task.name)
        if route is None:
            raise _unserved(task.name, known.unserved.get(task.name))
        ours = requests.make(task.name, route.digest, route.promotion, request.scope["state"]["stamp"])
        request.scope["state"]["request_id"] = ours
        said = await switchboard.ask(route, known.number, question)
        reply = Reply[task.target](id=ours, task=task.name, provenance=Provenance.of(route), **said)  # type: ignore[name-defined]
        return Response(
            reply.model_dump_json(), headers=_headers(route, ours, x_call_id), media_type="application/json"
        )

    router = app.router
    router.add_api_route(
        f"/v1/tasks/{task.name}",
        call,
        methods=["POST"],
        response_model=Reply[task.target],  # type: ignore[name-defined]
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


def _unserved(task: str, reason: str | None) -> UnavailableError:
    return UnavailableError(
        f"{task} has no version that may answer",
        where=f"/v1/tasks/{task}",
        found=reason or "no champion in the ledger",
        expected="a promoted version with a passed verdict",
        next=f"hotline judge a candidate, then hotline promote it for {task}",
    )


def _add_unknown_task(app: FastAPI) -> None:
    @app.post("/v1/tasks/{task}", include_in_schema=False)
    async def unknown(task: str) -> Response:
        find(task[: guard.MAX_NAME_CHARACTERS])
        raise HTTPException(404)  # a declared name with something after it


def _add_listings(app: FastAPI, switchboard: Switchboard) -> None:
    @app.get("/v1/tasks", tags=["listings"], summary="Every declared task, served or not, and by what")
    async def tasks() -> TaskList:
        known = switchboard.map
        return TaskList(tasks=[_listed(task, known.routes.get(task.name), known.unserved) for task in TASKS.values()])

    @app.get("/v1/models", tags=["listings"], summary="The versions that answer, in the shape of OpenAI's list")
    async def models() -> ModelList:
        return ModelList(data=[_listed_model(route) for route in switchboard.map.routes.values()])


def _listed(task: Task, route: Route | None, unserved: dict[str, str]) -> ListedTask:
    why_not = unserved.get(task.name, None if route else "no champion in the ledger")
    return ListedTask(
        name=task.name,
        summary=task.summary,
        path=f"/v1/tasks/{task.name}",
        served=route is not None,
        why_not=why_not,
        provenance=Provenance.of(route) if route else None,
    )


def _listed_model(route: Route) -> ListedModel:
    return ListedModel(
        id=f"{route.line}@{route.version}",
        created=int(datetime.fromisoformat(route.promoted).timestamp()),
        owned_by=route.site,
        task=route.task,
        version=route.version,
        digest=route.digest,
        verdict=route.verdict,
        profile=route.profile,
    )


def _add_health(app: FastAPI, switchboard: Switchboard) -> None:
    @app.get("/healthz", tags=["health"], summary="The process lives")
    async def healthz() -> Liveness:
        return Liveness()

    @app.get(
        "/readyz",
        tags=["health"],
        summary="Every champion of the ledger is served",
        responses={503: {"model": Readiness, "description": "Some champion is not served: which, and why"}},
    )
    async def readyz(response: Response) -> Readiness:
        known = switchboard.map
        silent = switchboard.silence_seconds > SILENCE_SECONDS
        trouble = "the controller has not been heard; promotions go unseen" if silent else known.trouble
        ready = bool(known.routes) and not known.unserved and trouble is None
        response.status_code = 200 if ready else 503
        return Readiness(
            ready=ready,
            map=known.number,
            head=known.head,
            served={task: f"{route.line}@{route.version}" for task, route in known.routes.items()},
            unserved=known.unserved,
            trouble=trouble,
        )


def _add_page(app: FastAPI) -> None:
    from swagger_ui_bundle import swagger_ui_path

    app.mount(f"{PAGE}/static", StaticFiles(directory=str(swagger_ui_path)), name="static")

    @app.get(f"{PAGE}/openapi.json", include_in_schema=False)
    async def openapi_of_the_page() -> dict[str, Any]:
        return {**app.openapi(), "openapi": OPENAPI_OF_THE_PAGE}

    @app.get(PAGE, include_in_schema=False)
    async def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=f"{PAGE}/openapi.json",
            title=app.title,
            swagger_js_url=f"{PAGE}/static/swagger-ui-bundle.js",
            swagger_css_url=f"{PAGE}/static/swagger-ui.css",
            swagger_favicon_url=f"{PAGE}/static/favicon-32x32.png",
        )

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse(PAGE)
