"""Ray Train: the recipe's ranks as workers of a Ray cluster, each doing what `hotline train` does.

Every node needs this version of the code and the workspace at the same path (a shared file system), and a tracking
server that all of them reach.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hotline import settings
from hotline.errors import HotlineError, UnavailableError
from hotline.records import ModelAddress
from hotline.settings import Settings
from training.recipe import Recipe
from training.recipe import load as load_recipe

START_SECONDS = 600
"""A worker imports torch and Lightning first."""


def train(settings: Settings, recipe: Recipe, *, resume: bool = False, anyway: bool = False) -> ModelAddress:
    """Train the recipe on the Ray cluster that RAY_ADDRESS names, else on one that is started on this machine.

    Raises UnavailableError when a worker fails.
    """
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(START_SECONDS))
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    if not ray.is_initialized():
        ray.init(log_to_driver=True, configure_logging=False)
    section = recipe.trainer
    on_gpu = section.accelerator == "gpu" or (section.accelerator == "auto" and ray.cluster_resources().get("GPU", 0))
    told = {"workspace": str(settings.workspace), "recipe": recipe.name, "resume": resume, "anyway": anyway}
    trainer = TorchTrainer(
        _worker,
        train_loop_config=told,
        torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=section.devices * section.nodes, use_gpu=bool(on_gpu)),
        run_config=RunConfig(name=recipe.name, storage_path=str(settings.state / "ray")),
    )
    try:
        trainer.fit()
    except Exception as error:
        raise _failed(error, recipe) from error
    return ModelAddress.model_validate_json((settings.models / recipe.name / "model.json").read_text(encoding="utf-8"))


def _worker(told: dict[str, Any]) -> None:
    """One rank: the same function that `hotline train` calls, told that Ray has started it."""
    import ray.train

    from training import distributed, fit

    distributed.be_rank(ray.train.get_context().get_world_rank())
    here = settings.load(Path(told["workspace"]))
    recipe = load_recipe(here.recipes / f"{told['recipe']}.yaml")
    fit.train(here, recipe, resume=told["resume"], anyway=told["anyway"], on_ray=True)


def _failed(error: Exception, recipe: Recipe) -> HotlineError:
    """The mistake that a worker reported, if it was one that a person can act on."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HotlineError):
            return cause
        inner = getattr(cause, "worker_failures", None) or {}
        cause = next(iter(inner.values()), None) or cause.__cause__
    return UnavailableError(
        f"Ray could not train {recipe.name}",
        found=str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__,
        next=f"look at the workers' messages above, then hotline train {recipe.name} --on ray --resume",
    )
