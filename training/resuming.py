"""Going on from a checkpoint: the position, Lightning's or DeepSpeed's state, and other numbers of ranks."""

from __future__ import annotations

import shutil
from pathlib import Path

from training import distributed, memory
from training.batches import Batches
from training.keeping import Keeper, Keeping, identity, position
from training.module import FamilyModule
from training.recipe import Recipe, TrainerSection

CONVERTED = "universal"


def elastic(keeping: Keeping | None, section: TrainerSection) -> bool:
    """Whether the checkpoint was written by another number of ranks, or another ZeRO stage, of DeepSpeed."""
    if keeping is None or keeping.resume is None or section.deepspeed is None:
        return False
    then = keeping.resume.header
    return (then.ranks, then.zero_stage) != (section.devices * section.nodes, memory.zero_stage(section))


def attach(keeping: Keeping, recipe: Recipe, data: Batches, module: FamilyModule) -> tuple[Keeper, str | None]:
    """What keeps the run's checkpoints and, when it goes on from one, the state for Lightning to load.

    Data and module then begin where the checkpoint was written.
    Raises RefusedError for another snapshot or recipe, IntegrityError for another model.
    """
    now, found = identity(recipe, keeping, data, module.model), keeping.resume
    keeper = Keeper(keeping, now, recipe)
    if found is None:
        return keeper, None
    epoch, done = position(found, now, keeping.anyway)
    data.go_on(epoch, done)
    module.done = done // data.ranks
    if not elastic(keeping, recipe.trainer):
        return keeper, str(found.state)
    folder = found.folder.parent / f"{CONVERTED}-{found.folder.name}"
    return keeper, str(distributed.universal(found.state, folder) if distributed.leads() else folder)


def tidy(folder: Path) -> None:
    """Remove what a conversion left in a run's folder."""
    for converted in folder.glob(f"{CONVERTED}-*"):
        shutil.rmtree(converted, ignore_errors=True)
