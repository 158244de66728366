"""From a recipe to a registered candidate: snapshot, fresh model, Lightning, calibration, registration."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from data.store import Rows
from hotline import digests, families, registry
from hotline.families import Family
from hotline.labels import LabelTree
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import CODE_ROOT, Settings
from hotline.task import Task
from training import distributed, track
from training.batches import Batches
from training.corpus import rows_of, tree_of
from training.module import FamilyModule
from training.progress import callbacks
from training.recipe import Recipe

CODE_PACKAGES = ("hotline", "data", "training")
MODEL_FILE = "model.json"
log = logging.getLogger(__name__)


def train(settings: Settings, recipe: Recipe) -> ModelAddress | None:
    """Train the recipe and register what comes out; writes `model.json` for the steps that follow.

    On several devices every rank runs this; the first one tracks and registers, the others give None.
    Raises UnavailableError when MLflow does not answer, UnknownName without a snapshot, ContractError when the
    recipe's filter leaves nothing to learn from.
    """
    task = recipe.find_task()
    if not distributed.leads():
        snapshot, training, validation = rows_of(settings, recipe, task)
        fit(recipe, task, tree_of(snapshot), training, validation)
        return None
    client = registry.connect(settings.tracking_uri)
    snapshot, training, validation = rows_of(settings, recipe, task)
    lineage = Lineage(
        declarations={each.name: digests.of_value(each.declaration()) for each in recipe.find_tasks()},
        snapshot=snapshot.digest,
        recipe=recipe.digest,
        code=digests.of_code(CODE_ROOT, CODE_PACKAGES),
        base=families.find(task.family).base_digest(recipe.model),
    )
    with track.run(settings, client, recipe, task, lineage) as run_id:
        started = time.perf_counter()
        family, model = fit(
            recipe, task, tree_of(snapshot), training, validation, logger=track.lightning_logger(settings, run_id)
        )
        figures = family.finish(model, validation.inputs, validation.targets)
        figures |= validation_scores(task, family, model, validation)
        figures |= {"train/rows": len(training), "train/seconds": time.perf_counter() - started}
        track.log_figures(client, run_id, figures)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            _save(family, model, lineage, folder)
            address = registry.register(client, recipe.name, run_id, folder, track.version_tags(lineage))
    _leave(settings.models / recipe.name, address, figures)
    return address


def fit(
    recipe: Recipe, task: Task, tree: LabelTree | None, training: Rows, validation: Rows, *, logger: Any = False
) -> tuple[Family, torch.nn.Module]:
    """A model of the recipe's family, trained; no tracking and no registry, so that benches call it as well."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it advertises at INFO
    pl.seed_everything(recipe.seed, verbose=False)
    family = families.find(task.family)

    def fresh() -> torch.nn.Module:
        return family.create(recipe.model, task, tree, training.inputs, training.targets)

    model = fresh()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        for words in (".*does not have many workers.*", ".*LeafSpec.*", ".*find_unused_parameters.*"):
            warnings.filterwarnings("ignore", words)
        trainer = _trainer(recipe, logger, scratch)
        data = Batches(family, model, training, validation, recipe.trainer, recipe.seed, trainer.world_size)
        _tell(data, logger)
        steps = data.plan.steps * recipe.trainer.max_epochs
        trainer.fit(FamilyModule(family, model, recipe, steps), datamodule=data)
    if recipe.trainer.deepspeed is not None:
        with distributed.whole_weights(model, recipe.trainer) as weights:
            model = fresh()
            model.load_state_dict(weights)
    return family, model.float().eval()


def _tell(data: Batches, logger: Any) -> None:
    """What goes in and what comes of it, into the run: in = trained + dropped."""
    counted = data.plan.accounting()
    figures = {f"plan/{name}": float(value) for name, value in asdict(counted).items()}
    if logger and distributed.leads():
        logger.log_metrics({**figures, "plan/useful_ratio": counted.useful_ratio}, step=0)


def _trainer(recipe: Recipe, logger: Any, scratch: str) -> pl.Trainer:
    section = recipe.trainer
    if section.devices > 1 and not distributed.on_cuda(section):
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // section.devices))
    return pl.Trainer(
        max_epochs=section.max_epochs,
        accelerator=section.accelerator,
        devices=section.devices,
        strategy=distributed.strategy(section),
        precision=section.precision,
        accumulate_grad_batches=section.accumulate,
        gradient_clip_val=recipe.optimiser.gradient_clip,
        default_root_dir=scratch,
        logger=logger,
        callbacks=callbacks(),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=section.log_steps,
    )


def validation_scores(task: Task, family: Family, model: torch.nn.Module, rows: Rows) -> dict[str, float]:
    """The task's scores on the validation split; the bars are out of a recipe's reach."""
    answers = families.answer(family, model, rows.inputs)
    return {f"validation/{name}": score(rows.targets, answers) for name, score in task.scores.items()}


def _save(family: Family, model: torch.nn.Module, lineage: Lineage, folder: Path) -> None:
    family.save(model, folder)
    (folder / LINEAGE_FILE).write_text(lineage.model_dump_json(indent=1), encoding="utf-8")


def _leave(folder: Path, address: ModelAddress, figures: dict[str, float]) -> None:
    """What DVC tracks of a run: digest and address, and the validation figures; the bytes are in the store."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_text(address.model_dump_json(indent=1) + "\n", encoding="utf-8")
    scores = {name: round(value, 6) for name, value in sorted(figures.items()) if not name.endswith("seconds")}
    (folder / "metrics.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
