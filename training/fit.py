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
from training import checkpoint, devices, distributed, launching, resuming, track
from training.batches import Batches
from training.corpus import rows_of, tree_of
from training.keeping import Keeping
from training.module import FamilyModule
from training.progress import callbacks
from training.recipe import Recipe
from training.throughput import Meter, matrix_rate

CODE_PACKAGES = ("hotline", "data", "training")
MODEL_FILE = "model.json"
log = logging.getLogger(__name__)


def train(
    settings: Settings, recipe: Recipe, *, resume: bool = False, anyway: bool = False, on_ray: bool = False
) -> ModelAddress | None:
    """Train the recipe and register what comes out; writes `model.json` for the steps that follow.

    On several devices every rank runs this; the first one tracks and registers, the others give None. `resume` goes on
    from the newest whole checkpoint, with `anyway` although snapshot or recipe changed; `on_ray`: in a worker of Ray.
    Raises UnavailableError when MLflow does not answer, UnknownName without a snapshot or a checkpoint, ContractError
    when the recipe's filter leaves nothing to learn from, and Stopped when the run was told to stop and can be resumed.
    """
    task, folder = recipe.find_task(), settings.checkpoints / recipe.name
    found = checkpoint.latest(folder) if resume else None
    if not distributed.leads():
        snapshot, training, validation = rows_of(settings, recipe, task)
        keeping = Keeping(checkpoint.Store(folder, recipe.trainer.keep), snapshot.digest, None, found, anyway)
        fit(recipe, task, tree_of(snapshot), training, validation, keeping=keeping, on_ray=on_ray)
        return None
    client = registry.connect(settings.tracking_uri)
    if found is None:
        _look_back(folder)
    snapshot, training, validation = rows_of(settings, recipe, task)
    lineage = Lineage(
        declarations={each.name: digests.of_value(each.declaration()) for each in recipe.find_tasks()},
        snapshot=snapshot.digest,
        recipe=recipe.digest,
        code=digests.of_code(CODE_ROOT, CODE_PACKAGES),
        base=families.find(task.family).base_digest(recipe.model),
        together=recipe.together,
        family=recipe.family,
    )
    with track.run(settings, client, recipe, task, lineage, found.header.run if found else None) as run_id:
        started = time.perf_counter()
        store = checkpoint.Store(found.folder.parent if found else folder / run_id, recipe.trainer.keep)
        keeping = Keeping(store, snapshot.digest, run_id, found, anyway)
        logger = track.lightning_logger(settings, run_id)
        family, model = fit(
            recipe, task, tree_of(snapshot), training, validation, logger=logger, keeping=keeping, on_ray=on_ray
        )
        figures = family.finish(model, validation.inputs, validation.targets)
        figures |= validation_scores(task, family, model, validation)
        figures |= {"train/rows": len(training), "train/seconds": time.perf_counter() - started}
        track.log_figures(client, run_id, figures)
        with tempfile.TemporaryDirectory() as scratch:
            saved = Path(scratch)
            _save(family, model, lineage, saved)
            address = registry.register(client, recipe.name, run_id, saved, track.version_tags(lineage))
        store.finish()
    _leave(settings.models / recipe.name, address, figures)
    return address


def _look_back(folder: Path) -> None:
    """Before a run that starts anew: what finished runs left goes, what others left stays and is named."""
    checkpoint.forget_finished(folder)
    if checkpoint.unfinished(folder):
        log.info("an unfinished run has checkpoints; `hotline train %s --resume` would go on with it", folder.name)


def fit(
    recipe: Recipe,
    task: Task,
    tree: LabelTree | None,
    training: Rows,
    validation: Rows,
    *,
    logger: Any = False,
    keeping: Keeping | None = None,
    on_ray: bool = False,
) -> tuple[Family, torch.nn.Module]:
    """A model of the recipe's family, trained; no tracking and no registry, so that benches call it as well.

    Raises UnavailableError when another rank dies.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it advertises at INFO
    pl.seed_everything(recipe.seed, verbose=False)
    family = families.find(task.family)

    def fresh() -> torch.nn.Module:
        return family.create(recipe.model, task, tree, training.inputs, training.targets)

    model = fresh()
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
        for words in (".*does not have many workers.*", ".*LeafSpec.*", ".*find_unused_parameters.*", ".*resuming.*"):
            warnings.filterwarnings("ignore", words)
        ranks = recipe.trainer.devices * recipe.trainer.nodes
        data = Batches(family, model, training, validation, recipe.trainer, recipe.seed, ranks)
        _tell(data, logger)
        module = FamilyModule(family, model, recipe, data.plan.steps * recipe.trainer.max_epochs)
        watching = [*callbacks(recipe.trainer.log_steps), _meter(recipe, data, family)]
        state = None
        if keeping:
            keeper, state = resuming.attach(keeping, recipe, data, module)
            watching.append(keeper)
        elastic = resuming.elastic(keeping, recipe.trainer)
        trainer = _trainer(recipe, logger, scratch, watching, elastic=elastic, on_ray=on_ray)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=state, weights_only=False)
        except RuntimeError as error:
            if launching.is_loss_of_a_rank(error):
                raise launching.died(str(error).splitlines()[0]) from error
            raise
    if keeping and distributed.leads():
        resuming.tidy(keeping.store.folder)
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


def _meter(recipe: Recipe, data: Batches, family: Family) -> Meter:
    """Speed; and MFU on a GPU or NPU, whose matrix rate takes no time to measure."""
    rate = None
    device = devices.kind(recipe.trainer.accelerator)
    if device != "cpu":
        half = torch.float32 if recipe.trainer.precision == "32-true" else torch.bfloat16
        rate = matrix_rate(torch.device(device, torch.accelerator.current_device_index()), half, 4096)
    return Meter(data, families.unit(family, data.rows.inputs[0]), rate)


def _trainer(
    recipe: Recipe, logger: Any, scratch: str, watching: list[Any], *, elastic: bool, on_ray: bool
) -> pl.Trainer:
    section = recipe.trainer
    if section.devices > 1 and devices.kind(section.accelerator) == "cpu" and not on_ray:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // section.devices))
    return pl.Trainer(
        max_epochs=section.max_epochs,
        accelerator=devices.for_lightning(section.accelerator),
        devices="auto" if on_ray else section.devices,
        num_nodes=section.nodes,
        strategy=distributed.strategy(section, elastic, on_ray),
        plugins=distributed.plugins(on_ray),
        precision=section.precision,
        accumulate_grad_batches=section.accumulate,
        gradient_clip_val=recipe.optimiser.gradient_clip,
        default_root_dir=scratch,
        logger=logger,
        callbacks=watching,
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
