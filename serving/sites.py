"""Several hotlines in one deployment: each has a controller, a route table, an ingress and an address of its own.

They share Ray's own processes and nothing else: policy, signers, ledger, access keys, jobs, captures are a workspace's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hotline import policy
from hotline.errors import InputError
from hotline.settings import Settings

if TYPE_CHECKING:
    from serving.run import Running

LOGS = "/tmp/ray/session_latest/logs/serve"


def apart(every: Sequence[Settings]) -> list[Settings]:
    """The sites' settings, each on a port of its own: the first one's, and those after it.

    Raises InputError when two of them have the same name or the same ledger.
    """
    names = [policy.load(each.workspace).site for each in every]
    for what, found in (("name", names), ("ledger", [each.ledger_url for each in every])):
        if len(set(found)) < len(found):
            raise InputError(
                f"two sites have the same {what}",
                where=", ".join(str(each.workspace) for each in every),
                expected=f"a {what} of its own for each",
                next="give each workspace its own policy/site.yaml, and set no HOTLINE_LEDGER_URL for several",
            )
    return [each.model_copy(update={"port": every[0].port + number}) for number, each in enumerate(every)]


def notice(running: Running) -> str:
    """What a person reads when the endpoints are up."""
    lines = [f"Ready after {running.seconds:.0f} s.", ""]
    for each in (running, *running.others):
        lines += [*_answers(each), ""]
    lines += [
        f"  logs       {LOGS}",
        "",
        "Promotions and rollbacks are followed while this runs. Stop with Ctrl-C (or SIGTERM).",
    ]
    return "\n".join(lines)


def _answers(running: Running) -> list[str]:
    served = running.controller.map
    lines = [
        f"  POST {running.url}/v1/tasks/{task}    {route.line}@{route.version}, {route.outcome} ({route.profile})"
        + ("" if route.engine == "in process" else f", by {route.engine}")
        for task, route in served.routes.items()
    ]
    lines += [f"  not served: {task}: {reason}" for task, reason in served.unserved.items()]
    lines += [
        "",
        f"  try it     {running.url}/",
        f"  API        {running.url}/docs",
        f"  readiness  {running.url}/readyz",
        f"  metrics    {running.url}/metrics",
    ]
    return lines
