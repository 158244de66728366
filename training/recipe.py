"""Recipes: how we try. YAML, resolved and checked before torch is imported; frozen, extra keys forbidden."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hotline import digests, families, tasks
from hotline.errors import HotlineError, InputError, RecipeError, UnknownName
from hotline.families.options import OPTIONS
from hotline.task import Provenance, Task


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(Section):
    """Which rows of the task's corpus to learn from."""

    snapshot: str | None = None
    """A digest or its beginning; None is the corpus's current snapshot."""
    where: dict[str, tuple[str, ...]] = {}
    """Provenance columns and the values to keep; the test split is never filtered."""

    @field_validator("where")
    @classmethod
    def _columns_exist(cls, where: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        unknown = set(where) - set(Provenance.model_fields)
        if unknown:
            raise ValueError(f"provenance has no column {', '.join(sorted(unknown))}")
        return where


class OptimiserSection(Section):
    """AdamW with linear warm-up and then linear decay to zero."""

    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient."""


class TrainerSection(Section):
    max_epochs: Annotated[int, Field(ge=1, le=1000)]
    batch_rows: Annotated[int, Field(ge=1, le=65_536)] | None = None
    """Rows of one micro-batch on one device; or else `budget`."""
    budget: Annotated[int, Field(ge=1)] | None = None
    """Frames of 10 ms, or tokens, of one micro-batch on one device, padding included."""
    packing: bool = False
    """Several rows share a sequence of at most `budget` tokens; for families that pack."""
    sequence: Annotated[int, Field(ge=1)] | None = None
    """Tokens of one packed sequence, several of which then make a micro-batch; None packs all of it into one."""
    too_long: Literal["refuse", "drop"] = "refuse"
    """What to do with a row that does not fit the budget. Dropped rows are counted."""
    accumulate: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Micro-batches of each device per optimiser step."""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps from one checkpoint to the next, and one per epoch; None writes one when told to stop only."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Checkpoints that stay: the last ones, and the best."""
    log_steps: Annotated[int, Field(ge=1)] = 25
    """Optimiser steps from one logged loss to the next; each is a transaction of the tracking store."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "npu"] = "auto"
    devices: Annotated[int, Field(ge=1, le=1024)] = 1
    """Processes on one machine, one per device; more than one needs `deepspeed`."""
    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Machines, each started with the same command by torchrun or Slurm."""
    deepspeed: dict[str, Any] | None = None
    """DeepSpeed's own configuration, word for word: a mapping, or the path of a JSON file beside the recipe."""

    @model_validator(mode="after")
    def _rows_or_budget(self) -> TrainerSection:
        if (self.batch_rows is None) == (self.budget is None):
            raise ValueError("one of batch_rows and budget is needed, not both")
        if (self.packing or self.sequence) and self.budget is None:
            raise ValueError("packing and sequence need a budget of tokens")
        if self.sequence and (not self.packing or self.sequence > (self.budget or 0)):
            raise ValueError("sequence is a part of the budget and needs packing: true")
        return self

    @model_validator(mode="after")
    def _several_devices_have_a_strategy(self) -> TrainerSection:
        if self.devices * self.nodes > 1 and self.deepspeed is None:
            raise ValueError("devices: more than one needs deepspeed: ../deepspeed/zero1.json, or a mapping")
        return self


class Recipe(Section):
    """One way to try a task. Its name is the line that its versions are registered under."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    task: str
    family: Literal["classifier", "writer", "embedder"] | None = None
    """Another way of answering than the task's own, such as a writer that names a category."""
    also: tuple[str, ...] = ()
    """Further tasks that the same model answers, over the same corpus; each is judged and promoted on its own."""
    together: bool = False
    """None of its tasks is promoted before all of them have passed."""
    seed: Annotated[int, Field(ge=0)]
    data: DataSection = DataSection()
    model: SerializeAsAny[BaseModel]
    optimiser: OptimiserSection
    trainer: TrainerSection

    @field_validator("also")
    @classmethod
    def _of_the_same_corpus(cls, also: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "task" in info.data:
            main = tasks.find(info.data["task"])
            for name in also:
                other = tasks.find(name)
                if (other.family, other.corpus_name) != (main.family, main.corpus_name):
                    raise ValueError(f"{name} is not answered by the family and corpus of {main.name}")
        return also

    @field_validator("family")
    @classmethod
    def _can_answer(cls, family: str | None, info: ValidationInfo) -> str | None:
        if "task" in info.data:
            try:
                families.by(tasks.find(info.data["task"]), family)
            except InputError as error:
                raise ValueError(f"{error.what}, it needs {error.expected}") from error
        return family

    @property
    def digest(self) -> str:
        unsaid = {"family"} if self.family is None else set[str]()  # a recipe of before has the digest that it had
        return digests.of_value(self.model_dump(mode="json", exclude=unsaid))

    def find_task(self) -> Task:
        return self.find_tasks()[0]

    def find_tasks(self) -> list[Task]:
        """Every task that the model is to answer, the one it is trained on first."""
        return [families.by(tasks.find(name), self.family) for name in (self.task, *self.also)]


def load(path: Path) -> Recipe:
    """The recipe in that file. Raises RecipeError with all problems at once, each by its dotted path."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        there = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml"))) or "none"
        raise UnknownName(
            f"no recipe {path.stem!r}", where=str(path), expected=f"one of: {there}", next=f"ls {path.parent}"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError("the recipe is not readable YAML", where=str(path), found=error) from error
    recipe = parse(content, str(path))
    if recipe.name != path.stem:
        raise RecipeError(
            "the recipe's name is not its file's",
            where=str(path),
            found=f"name: {recipe.name}",
            expected=f"name: {path.stem}",
            next=f"edit {path}",
        )
    return recipe


def parse(content: Any, where: str) -> Recipe:
    """A recipe from parsed YAML. Raises RecipeError with all problems at once."""
    if not isinstance(content, dict):
        raise RecipeError("the recipe is not a mapping", where=where, found=type(content).__name__)
    content = _with_deepspeed(content, Path(where).parent)
    options, problems = _model_section(content)
    try:
        recipe = Recipe.model_validate({**content, "model": options or Section()})
    except ValidationError as error:
        problems += _problems(error)
    if problems:
        raise RecipeError(
            f"the recipe has {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            where=where,
            found="\n    " + "\n    ".join(problems),
            next=f"edit {where}",
        )
    return recipe


def _with_deepspeed(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe with the named DeepSpeed file's content in its place, so that the recipe's digest covers it."""
    section = content.get("trainer")
    if not isinstance(section, dict) or not isinstance(named := section.get("deepspeed"), str):
        return content
    path = folder / named
    try:
        return {**content, "trainer": {**section, "deepspeed": json.loads(path.read_text(encoding="utf-8"))}}
    except (OSError, ValueError) as error:
        raise RecipeError(
            "the DeepSpeed configuration cannot be read",
            where=f"trainer.deepspeed: {named}",
            found=getattr(error, "strerror", None) or error,
            expected=f"a JSON file at {path}",
            next=f"ls {path.parent}",
        ) from error


def _model_section(content: Mapping[str, Any]) -> tuple[BaseModel | None, list[str]]:
    """The family's own options: which family, the task says, or the recipe where it names another."""
    try:
        named = content.get("family")
        own = tasks.find(str(content.get("task"))).family
        options = OPTIONS[named if isinstance(named, str) and named in OPTIONS else own]
    except HotlineError as error:
        return None, [f"task: {error.what}, {error.expected}"]
    try:
        return options.model_validate(content.get("model")), []
    except ValidationError as error:
        return None, _problems(error, "model")


def _problems(error: ValidationError, *prefix: str) -> list[str]:
    """One line per problem: dotted path, message, what was found."""
    lines = []
    for problem in error.errors(include_url=False):
        path = ".".join(str(part) for part in (*prefix, *problem["loc"])) or "(root)"
        found = "" if problem["type"] == "missing" else f" (found {problem['input']!r:.80})"
        lines.append(f"{path}: {problem['msg']}{found}")
    return lines
