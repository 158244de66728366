"""The MLflow run of a training: parameters, digests, metrics, system metrics."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow.tracking import MlflowClient

from hotline import machine
from hotline.records import Lineage
from hotline.registry import TASK_SEPARATOR, TASK_TAG
from hotline.settings import Settings
from hotline.task import Task
from training.checkpoint import Stopped
from training.recipe import Recipe

SYSTEM_METRICS_SECONDS = 2


@contextmanager
def run(
    settings: Settings, client: MlflowClient, recipe: Recipe, task: Task, lineage: Lineage, again: str | None = None
) -> Iterator[str]:
    """An MLflow run, a new one or one that goes on; ended as FINISHED, FAILED, or KILLED when told to stop.

    Gives its id.
    """
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_SECONDS)
    mlflow.set_system_metrics_samples_before_logging(1)
    experiment = _experiment(settings, client, task)
    with mlflow.start_run(
        run_id=again,
        experiment_id=experiment,
        run_name=recipe.name,
        description=None if again else task.summary,
        log_system_metrics=True,
    ) as active:
        if again is None:
            mlflow.log_params(_flat(recipe.model_dump(mode="json")))
        mlflow.set_tags({f"digest.{name}": value for name, value in _digests(lineage).items()} | _revision())
        mlflow.log_dict(recipe.model_dump(mode="json"), "recipe.yaml")
        try:
            yield active.info.run_id
        except Stopped:
            mlflow.end_run("KILLED")
            raise


def lightning_logger(settings: Settings, run_id: str) -> Any:
    """Lightning's own logger, writing into the run."""
    from pytorch_lightning.loggers import MLFlowLogger

    return MLFlowLogger(tracking_uri=settings.tracking_uri, run_id=run_id)


def log_figures(client: MlflowClient, run_id: str, figures: Mapping[str, float]) -> None:
    for name, value in figures.items():
        client.log_metric(run_id, name, value)


def version_tags(lineage: Lineage) -> dict[str, str]:
    """What the registry shows of a version; the truth lies in the version's lineage file."""
    return {
        TASK_TAG: TASK_SEPARATOR.join(lineage.declarations),
        **{f"hotline.{name}": value for name, value in _digests(lineage).items()},
        **({"hotline.converted": lineage.converted.source} if lineage.converted else {}),
    }


def _digests(lineage: Lineage) -> dict[str, str]:
    named = {"snapshot": lineage.snapshot, "recipe": lineage.recipe, "code": lineage.code, "base": lineage.base}
    return {name: value or "none (from scratch)" for name, value in named.items()}


def _experiment(settings: Settings, client: MlflowClient, task: Task) -> str:
    """The task's experiment; in the embedded store its artefacts lie in the workspace, not in the current folder."""
    found = client.get_experiment_by_name(task.name)
    if found is not None:
        return str(found.experiment_id)
    embedded = settings.tracking_uri.startswith("sqlite:")
    return str(client.create_experiment(task.name, settings.artifacts.as_uri() if embedded else None))


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested sections as dotted parameter names."""
    flat: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(item)
    return flat


def _revision() -> dict[str, str]:
    """The code's git revision and whether it was edited since; empty outside of a checkout."""
    found = machine.revision()
    return {"code.revision": found.commit, "code.dirty": str(found.dirty).lower()} if found else {}
