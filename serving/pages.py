"""What is served, how busy it is, is it ready; the page at / and the OpenAPI page, which work offline.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles

from hotline.errors import UnknownName
from hotline.task import Task
from hotline.tasks import TASKS
from serving.bodies import (
    ListedModel,
    ListedTask,
    Liveness,
    LoadList,
    ModelList,
    Provenance,
    Readiness,
    TaskList,
    TaskLoad,
    Tried,
)
from serving.calls import ERRORS, names
from serving.routes import Route, RouteMap, Stage
from serving.strict import MAX_NAME_CHARACTERS
from serving.switchboard import SILENCE_SECONDS, Switchboard

UNKNOWN: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in (404, 422)}
PAGE = "/docs"
FRONT = Path(__file__).parent / "front"
OWN_ONLY = {"Content-Security-Policy": "default-src 'self'; img-src data:; media-src blob:; script-src 'self' blob:"}
"""The page at / loads nothing from anywhere else; the microphone's samples come from a script it makes itself."""
OPENAPI_OF_THE_PAGE = "3.0.3"
"""The bundled Swagger UI 4 draws 3.0 only; /openapi.json itself stays at FastAPI's 3.1."""


def add_listings(app: FastAPI, switchboard: Switchboard) -> None:
    @app.get("/v1/tasks", tags=["listings"], summary="Every declared task, served or not, and by what")
    async def tasks() -> TaskList:
        known = switchboard.map
        return TaskList(tasks=[_listed(task, known) for task in TASKS.values()])

    @app.get("/v1/models", tags=["listings"], summary="The versions that answer, in the shape of OpenAI's list")
    async def models() -> ModelList:
        return ModelList(data=[_listed_model(route) for route in switchboard.map.routes.values()])

    @app.get("/v1/models/{model}", tags=["listings"], summary="One of them", responses=UNKNOWN)
    async def one_model(model: str) -> ListedModel:
        found = [route for route in switchboard.map.routes.values() if model in names(route)]
        if not found:
            raise UnknownName(
                "no such model answers here",
                where=model[:MAX_NAME_CHARACTERS],
                expected="a line, line@version, or a task",
                next="GET /v1/models",
            )
        return _listed_model(found[0])

    @app.get("/v1/load", tags=["listings"], summary="How busy this ingress is, per task")
    async def load() -> LoadList:
        taken = switchboard.load.tasks
        return LoadList(
            tasks={name: TaskLoad.model_validate(busy, from_attributes=True) for name, busy in taken.items()}
        )


def _listed(task: Task, known: RouteMap) -> ListedTask:
    route = known.routes.get(task.name)
    return ListedTask(
        name=task.name,
        summary=task.summary,
        path=f"/v1/tasks/{task.name}",
        served=route is not None,
        why_not=known.why_not(task.name),
        provenance=Provenance.of(route) if route else None,
        tried=_tried(known.trials.get(task.name)),
    )


def _tried(stage: Stage | None) -> Tried | None:
    if stage is None or stage.kind == "champion":
        return None
    name = f"{stage.route.line}@{stage.route.version}"
    return Tried(stage=stage.kind, model=name, digest=stage.route.digest, share=stage.share)


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
        engine=route.engine,
    )


def add_health(app: FastAPI, switchboard: Switchboard) -> None:
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
            notes=known.notes,
            trouble=trouble,
        )


def add_openapi_page(app: FastAPI) -> None:
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


def add_front_page(app: FastAPI) -> None:
    """What is served, and a box per task to try it."""
    app.mount("/page", StaticFiles(directory=FRONT), name="front")

    @app.get("/", include_in_schema=False)
    async def home() -> FileResponse:
        return FileResponse(FRONT / "index.html", headers=OWN_ONLY)
