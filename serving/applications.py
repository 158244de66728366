"""Ray Serve applications, one for each version: started beside each other, waited for, asked how they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import serve
from ray.serve.api import RunTarget
from ray.serve.schema import ApplicationStatus

from hotline import registry
from hotline.errors import HotlineError
from hotline.records import ModelAddress
from hotline.settings import Settings
from serving.routes import Route

log = logging.getLogger("hotline.serving")


def run(targets: Sequence[RunTarget], table: Any, seconds: float) -> dict[str, str]:
    """Deploy and wait so long at most; why an application did not come up, by its name."""
    serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    waiting, reasons = {target.name for target in targets}, dict[str, str]()
    give_up = time.monotonic() + seconds
    while waiting:
        time.sleep(0.1)
        states = serve.status().applications
        for name in list(waiting):
            state = states[name].status if name in states else None
            if state == ApplicationStatus.RUNNING:
                waiting.discard(name)
            elif state in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY):
                reasons[name] = ray.get(table.refusal.remote(name)) or states[name].message
                waiting.discard(name)
        if time.monotonic() > give_up:
            reasons |= dict.fromkeys(waiting, f"it did not start within {seconds:g} s")
            break
    for name in reasons:
        serve.delete(name, _blocking=False)
    return reasons


def down(routes: Mapping[str, Route], table: Any) -> dict[str, str]:
    """Tasks whose version does not run at the moment, which Ray Serve restarts by itself, or whose engine ails."""
    states, ails = serve.status().applications, ray.get(table.ails.remote())
    return {task: ails[route.app] for task, route in routes.items() if route.app in ails} | {
        task: f"{route.line}@{route.version} is restarting"
        for task, route in routes.items()
        if route.app not in states or states[route.app].status != ApplicationStatus.RUNNING
    }


def fetch(settings: Settings, address: ModelAddress) -> HotlineError | None:
    """Have the version's checked bytes under `settings.verified`; gives back why that failed."""
    place = settings.verified / address.digest
    try:
        if place.is_dir():
            registry.check(place, address)  # saves the seconds that importing MLflow takes
        else:
            registry.fetch(registry.connect(settings.tracking_uri), address, settings.verified)
    except HotlineError as error:
        return error
    return None
