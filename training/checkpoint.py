"""Checkpoints on disk: written whole or not at all, each with a manifest of digests; torn ones are skipped.

<run>/step-000000120/checkpoint.json    the header: cursor, digests, and the digest of every file
<run>/step-000000120/state              Lightning's or DeepSpeed's state: a file, or a folder with a part per rank
<run>/step-000000120/rank-00000.pt      what only this rank knows: its buffers
<run>/best.json                         the step with the lowest validation loss
<run>/finished                          the run came to its end: there is nothing to resume
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hotline import digests
from hotline.errors import IntegrityError, RefusedError, UnknownName

HEADER_FILE, STATE, BEST_FILE, FINISHED_FILE = "checkpoint.json", "state", "best.json", "finished"
PARTIAL = ".partial"
log = logging.getLogger(__name__)


class Header(BaseModel):
    """Where a run was, what it was made from, and the digest of every file."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    step: int
    """Optimiser steps done."""
    epoch: int
    position: int
    """Micro-batches of the global order trained in this epoch."""
    ranks: int
    zero_stage: int | None
    """None without DeepSpeed."""
    snapshot: str
    recipe: str
    plan: str
    """Of sizes, seed and rules: the same plan has the same order."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of the model's tensors, by name."""
    run: str | None = None
    """The run of the tracking server that goes on when this one is resumed."""
    files: Mapping[str, str] = {}


class Stopped(Exception):
    """The run was told to stop, has written a checkpoint, and can be resumed."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}; a checkpoint is written")
        self.step = step


@dataclass(frozen=True)
class Found:
    """A whole checkpoint."""

    folder: Path
    header: Header

    @property
    def state(self) -> Path:
        return self.folder / STATE


class Store:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def begin(self, step: int) -> Path:
        """An empty folder to write into; nobody takes it for a checkpoint."""
        for left in self.folder.glob(f"step-*{PARTIAL}"):
            shutil.rmtree(left, ignore_errors=True)
        partial = self.folder / f"{_name(step)}{PARTIAL}"
        partial.mkdir(parents=True)
        return partial

    def publish(self, partial: Path, header: Header) -> Path:
        """Give a written folder its manifest and its name. Raises OSError; then there is no new checkpoint."""
        described = header.model_copy(update={"files": digests.of_files(partial)})
        (partial / HEADER_FILE).write_text(described.model_dump_json(indent=1), encoding="utf-8")
        for path in partial.rglob("*"):
            _to_disk(path)
        final = self.folder / _name(header.step)
        shutil.rmtree(final, ignore_errors=True)  # an earlier life of this run came as far
        partial.rename(final)
        _to_disk(self.folder)
        self._prune()
        return final

    def score(self, step: int, validation_loss: float) -> None:
        """Remember the step when its validation loss is the lowest; without a checkpoint of it nothing happens."""
        if not (self.folder / _name(step)).is_dir() or validation_loss >= self._best()[1]:
            return
        partial = self.folder / (BEST_FILE + PARTIAL)
        partial.write_text(json.dumps({"checkpoint": _name(step), "validation_loss": validation_loss}))
        partial.replace(self.folder / BEST_FILE)

    def finish(self) -> None:
        """The run came to its end."""
        if self.folder.is_dir():
            (self.folder / FINISHED_FILE).touch()

    def _prune(self) -> None:
        """Only the last ones stay, and the best."""
        best = self._best()[0]
        for folder in _steps(self.folder)[self.keep :]:
            if folder.name != best:
                shutil.rmtree(folder, ignore_errors=True)

    def _best(self) -> tuple[str, float]:
        path = self.folder / BEST_FILE
        if not path.is_file():
            return "", float("inf")
        found = json.loads(path.read_text())
        return str(found["checkpoint"]), float(found["validation_loss"])


def latest(recipe_folder: Path) -> Found:
    """The newest whole checkpoint of the recipe's unfinished runs; torn ones are named and skipped.

    Raises UnknownName when there is none.
    """
    for folder in unfinished(recipe_folder):
        for found in _whole(folder):
            return found
    raise UnknownName(
        f"{recipe_folder.name} has no unfinished run with a whole checkpoint",
        where=str(recipe_folder),
        next=f"hotline train {recipe_folder.name}",
    )


def unfinished(recipe_folder: Path) -> list[Path]:
    """Folders of runs that did not come to their end, the one that wrote last first."""
    runs = [each for each in recipe_folder.glob("*") if _steps(each) and not (each / FINISHED_FILE).exists()]
    return sorted(runs, key=lambda run: _steps(run)[0].stat().st_mtime, reverse=True)


def forget_finished(recipe_folder: Path) -> None:
    """Remove what finished runs of the recipe left."""
    for marker in recipe_folder.glob(f"*/{FINISHED_FILE}"):
        shutil.rmtree(marker.parent, ignore_errors=True)


def check(found: Found, now: Header, anyway: bool) -> None:
    """Raises RefusedError for another snapshot or recipe, unless told to go on, IntegrityError for another model."""
    then = found.header
    changed = [name for name in ("snapshot", "recipe", "plan") if getattr(then, name) != getattr(now, name)]
    if changed and not anyway:
        raise RefusedError(
            f"the {' and the '.join(changed)} changed since the checkpoint of step {then.step}",
            where=str(found.folder),
            found=", ".join(f"{name} {getattr(now, name)[:12]}" for name in changed),
            expected=", ".join(f"{name} {getattr(then, name)[:12]}" for name in changed),
            next="restore them (with other ranks, keep ranks × accumulate), or add --resume-anyway",
        )
    _refuse_another_model(found, now)
    if (then.zero_stage is None) != (now.zero_stage is None):
        raise RefusedError(
            "a checkpoint of DeepSpeed is read with DeepSpeed only, and one without it without",
            where=str(found.folder),
            next="keep trainer.deepspeed as it was",
        )


def _refuse_another_model(found: Found, now: Header) -> None:
    then = {name: tuple(shape) for name, shape in found.header.shapes.items()}
    mine = {name: tuple(shape) for name, shape in now.shapes.items()}
    different = sorted(name for name in {*then, *mine} if then.get(name) != mine.get(name))
    if different:
        name = different[0]
        raise IntegrityError(
            f"the checkpoint is of another model: {len(different)} tensors differ",
            where=str(found.folder),
            found=f"{name} {then.get(name, '(none)')}",
            expected=f"{name} {mine.get(name, '(none)')}",
            next="restore the recipe and the snapshot of that run, or train from the start",
        )


def _whole(folder: Path) -> Iterator[Found]:
    for path in _steps(folder):
        problem = _torn(path)
        if problem is None:
            yield Found(path, _header(path))
        else:
            log.warning("checkpoint %s is torn and skipped: %s", path, problem)


def _torn(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        expected = dict(_header(path).files)
    except (OSError, ValidationError) as error:
        return f"{HEADER_FILE} cannot be read ({type(error).__name__})"
    there = digests.of_files(path)
    there.pop(HEADER_FILE, None)
    wrong = sorted(name for name in {*expected, *there} if expected.get(name) != there.get(name))
    return f"{wrong[0]} differs from its digest" if wrong else None


def _header(path: Path) -> Header:
    return Header.model_validate_json((path / HEADER_FILE).read_text(encoding="utf-8"))


def _steps(folder: Path) -> list[Path]:
    """Published checkpoints, newest first."""
    return sorted((each for each in folder.glob("step-*") if each.suffix != PARTIAL and each.is_dir()), reverse=True)


def _name(step: int) -> str:
    return f"step-{step:09d}"


def _to_disk(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
