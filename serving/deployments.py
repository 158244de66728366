"""The Ray Serve application of one version: how many replicas there are, and of which class."""

from __future__ import annotations

from typing import Any

from ray import serve

from hotline import tasks
from hotline.settings import Settings
from serving.replica import HEALTH_SECONDS, Options, Replica
from serving.warrant import Warrant


def application(settings: Settings, found: Warrant, options: Options, queue: int) -> Any:
    """The Ray Serve application of one version; `queue` calls may wait for it."""
    deployment: Any = serve.deployment(
        _class_of(found),
        name="Replica",
        **_copies(*options.copies.get(found.champion.record.task, (1, 1)), options.batch_rows // 2),
        max_ongoing_requests=options.ongoing,
        max_queued_requests=queue,
        max_constructor_retry_count=1,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=options.drain_seconds,
        health_check_period_s=HEALTH_SECONDS,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(settings, found.champion.record.task, found.champion.entry.seq, options)


def _copies(fewest: int, most: int, calls: int) -> dict[str, Any]:
    """As many replicas, or between the two, so that each has about so many calls at once."""
    if fewest == most:
        return {"num_replicas": fewest}
    scaling = {"min_replicas": fewest, "max_replicas": most, "target_ongoing_requests": calls}
    return {"autoscaling_config": scaling}


def _class_of(found: Warrant) -> type[Replica]:
    """Writers write for many callers at once, in an engine of their own; the one within a cascade, too."""
    family = found.verdict.evidence.lineage.family or tasks.find(found.champion.record.task).family
    if family not in ("writer", "cascade"):
        return Replica
    from serving import cascades, writing

    return writing.WriterReplica if family == "writer" else cascades.CascadeReplica
