"""`GET /metrics`, in Prometheus' text format: what all processes counted, and what the route map and drift say.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi import FastAPI, Response

from serving.bodies import Drifting, DriftList
from serving.routes import RouteMap
from serving.switchboard import Switchboard
from serving.watch import meters
from serving.watch.drift import State
from serving.watch.listening import version

PATH = "/metrics"
Row = tuple[str, tuple[str, ...], float]
"""A metric's name, its labels' values, its value."""


def add(app: FastAPI, switchboard: Switchboard, more: Callable[[], Iterable[Row]]) -> None:
    """Add the route; `more` gives further values of metrics that are told at a scrape."""

    @app.get(PATH, include_in_schema=False)
    def metrics() -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        found = meters.registry()
        found.register(Told([*of_map(switchboard.map), *more()]))
        return Response(generate_latest(found), media_type=CONTENT_TYPE_LATEST)


class Told:
    """A collector of values that are known at the scrape."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def collect(self) -> Iterator[Any]:
        """Metric families, as prometheus_client asks collectors for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for each in meters.TOLD:
            made = CounterMetricFamily if each.kind == "counter" else GaugeMetricFamily
            family = made(each.name, each.help, labels=each.labels)
            for name, labels, value in self._rows:
                if name == each.name:
                    family.add_metric(labels, value)
            yield family


def of_map(known: RouteMap) -> Iterator[Row]:
    """Which versions answer, and the tasks whose champion does not."""
    roles = [("champion", route) for route in known.routes.values()]
    for role, route in (*roles, *((stage.kind, stage.route) for stage in known.trials.values())):
        labels = (*version(route), role, route.digest, route.profile, route.outcome, route.engine)
        yield "hotline_served_info", labels, 1.0
    for task in known.unserved.keys() | known.routes.keys():
        yield "hotline_refused_candidate", (task,), float(task in known.unserved)


def add_drift(app: FastAPI, states: Callable[[], Iterable[State]]) -> None:
    """Add `GET /v1/drift`."""

    @app.get("/v1/drift", tags=["listings"], summary="Whether what is asked and answered has moved since training")
    async def drift() -> DriftList:
        return DriftList(versions=[Drifting.model_validate(each, from_attributes=True) for each in states()])
