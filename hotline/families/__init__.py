"""Families: ways of answering. A family is a module of plain functions with the shape of `Family`.

`prepare` is the only input → tensor code and `decode` the only tensor → meaning code; training, evaluation and serving
call the same two, so what was judged is what is served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast, get_args

from hotline.audio import Audio
from hotline.errors import InputError, UnknownName
from hotline.labels import LabelTree
from hotline.records import LINEAGE_FILE, Lineage
from hotline.task import ASKED, Answer, Input, Target, Task
from hotline.wishes import Abilities, Wish

if TYPE_CHECKING:
    import numpy as np
    import torch

FamilyName = Literal["classifier", "transcriber", "writer", "cascade", "embedder"]
FAMILIES: tuple[str, ...] = get_args(FamilyName)
LABELLING = ("classifier", "cascade", "embedder")
"""Families whose answers are leaves of the label tree."""
FRAMES_PER_SECOND = 100


class Size(NamedTuple):
    """What a row costs, and what it counts."""

    size: int
    """What a budget counts: 10-ms frames of sound, or tokens of prompt and answer."""
    weight: int
    """What a loss is averaged over: 1 a row, or the answer's tokens."""


class Family(Protocol):
    """What every family module offers. A Batch is a flat mapping of names to tensors, so that it can change device.

    A module may also offer `measure(model, inputs, targets) -> list[Size]`. One that can pack says `PACKS = True`, and
    its `prepare` takes `packs`: for every sequence the numbers of the rows in it. One that can do more than answer says
    so with `abilities(model) -> Abilities`, and does it with `decode_with(model, state, inputs, wishes)`. One whose
    `forward` can run elsewhere gives its state as named tensors with `to_tensors(state)`, and takes it back with
    `of_tensors(tensors)`. One that can write answers side by side, as they come and go, offers `listening(model,
    cache_bytes) -> Rows | None`; None for a model that cannot.
    """

    def base_digest(self, options: Any) -> str | None:
        """Digest of the pretrained files that `create` starts from; None from scratch."""

    def create(
        self, options: Any, task: Task, tree: LabelTree | None, inputs: Sequence[Input], targets: Sequence[Target]
    ) -> torch.nn.Module:
        """A fresh model for training; `inputs` and `targets` are the training split, for vocabulary and priors."""

    def load(self, folder: Path, task: Task) -> torch.nn.Module:
        """The saved model, ready to answer. Raises IntegrityError when it was made for another declaration."""

    def save(self, model: Any, folder: Path) -> None:
        """Write safetensors, tokenizer or features, label tree and declaration; nothing pickled."""

    def prepare(
        self,
        model: Any,
        inputs: Sequence[Input],
        targets: Sequence[Target] | None = None,
        draws: Sequence[np.random.Generator] | None = None,
    ) -> Mapping[str, torch.Tensor]:
        """Inputs, and for training their targets, as a batch of tensors.

        `draws`, one generator per row (seeded by seed, epoch and row id), ask for augmentation.
        """

    def loss(self, model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss of a batch prepared with targets: a scalar."""

    def forward(self, model: Any, batch: Mapping[str, torch.Tensor]) -> Any:
        """The state that `decode` reads; the only function that an engine replaces."""

    def decode(self, model: Any, state: Any) -> Iterator[Answer]:
        """One answer per row of the batch, in order."""

    def parameter_groups(self, model: Any, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Optimiser parameter groups."""

    def finish(self, model: Any, inputs: Sequence[Input], targets: Sequence[Target]) -> dict[str, float]:
        """After training, on the validation split: calibration. Gives back figures to log."""


class Rows(Protocol):
    """What is being written by one model, as a family offers it."""

    def join(self, wanted: Sequence[Any]) -> list[Any]:
        """Begin these, pairs of an input and a wish; None for each that there is no memory for now."""

    def step(self) -> list[Any]:
        """Write on all of them; those that ended with it, which have left."""

    def leave(self, row: Any) -> None:
        """Write no more of it; one that has ended may leave again."""

    def answer(self, row: Any) -> Any:
        """The answer of a row that has ended, as `decode` makes it."""


def find(name: str) -> Family:
    """The module of that family, imported on demand: a family brings torch with it."""
    _refuse_unknown(name)
    return cast(Family, import_module(f"hotline.families.{name}"))


def by(task: Task, family: str | None) -> Task:
    """The same promise as a version of another family keeps it; None: as its own does.

    Raises UnknownName for a family that there is not, InputError for one that cannot answer the task.
    """
    if family in (None, task.family):
        return task
    _refuse_unknown(str(family))
    lacking = {
        "a target with a path of the label tree": family in LABELLING and task.label_field is None,
        "a prompt": family in ASKED and task.prompt is None,
        "an input of text": task.audio_field is not None or family == "transcriber",
    }
    if any(lacking.values()):
        words = " and ".join(what for what, is_lacking in lacking.items() if is_lacking)
        raise InputError(f"a {family} cannot answer {task.name}", expected=words, next="hotline tasks")
    return replace(task, family=cast(FamilyName, family))


def _refuse_unknown(name: str) -> None:
    if name not in FAMILIES:
        raise UnknownName(f"no family named {name!r}", expected="one of " + ", ".join(FAMILIES))


def load(folder: Path, task: Task) -> tuple[Family, Any]:
    """A version's files as the family loads them that its lineage names; the task's own where it names none.

    For answering alone: where it is judged and where it is served, its layers multiply in the same way (packing.py).
    Raises IntegrityError when it was made for another declaration.
    """
    path = folder / LINEAGE_FILE
    named = Lineage.model_validate_json(path.read_text(encoding="utf-8")).family if path.is_file() else None
    answered = by(task, named)
    family = find(answered.family)
    from hotline.families import packing

    model = family.load(folder, answered)
    packing.pack(model)
    return family, model


def size(given: Input) -> float:
    """What an input costs beside others of its kind: seconds of sound, or characters. Batches are cut by it."""
    values = [getattr(given, name) for name in type(given).model_fields]
    sound = [value.seconds for value in values if isinstance(value, Audio)]
    return sum(sound) if sound else float(sum(len(value) for value in values if isinstance(value, str)))


def measured(family: Family, model: Any, inputs: Sequence[Input], targets: Sequence[Target]) -> list[Size]:
    """Size and weight of every row, as the family tells; else 10-ms frames or characters, and rows of one weight."""
    if hasattr(family, "measure"):
        return list(family.measure(model, inputs, targets))
    return [Size(_steps(given), 1) for given in inputs]


def _steps(given: Input) -> int:
    return math.ceil(size(given) * (FRAMES_PER_SECOND if is_sound(given) else 1))


def unit(family: Family, given: Input) -> str:
    """What the sizes of `measured` count."""
    return "frames" if is_sound(given) else "tokens" if hasattr(family, "measure") else "characters"


def packs(family: Family) -> bool:
    """Whether several rows may share a sequence."""
    return bool(getattr(family, "PACKS", False))


def is_sound(given: Input) -> bool:
    """Whether the input is audio."""
    return any(isinstance(getattr(given, name), Audio) for name in type(given).model_fields)


def abilities(family: Family, model: Any) -> Abilities:
    """What the model is able to do beside answering."""
    found: Abilities = family.abilities(model) if hasattr(family, "abilities") else Abilities()
    return found


def answer(
    family: Family,
    model: Any,
    inputs: Sequence[Input],
    batch_rows: int = 64,
    wishes: Sequence[Wish] | None = None,
    forward: Callable[[Any, Mapping[str, torch.Tensor]], Any] | None = None,
) -> list[Answer]:
    """Answers in the order of `inputs`: the one path that evaluation and the replicas both take.

    Inputs of similar size share a batch, so that little is padded. `wishes`, one for every input, are only for versions
    that are able to fulfil them. `forward` is an engine's, in place of the family's own.
    """
    import torch

    order = sorted(range(len(inputs)), key=lambda number: size(inputs[number]))
    answers: dict[int, Answer] = {}
    with torch.inference_mode():
        for start in range(0, len(inputs), batch_rows):
            numbers = order[start : start + batch_rows]
            batch = family.prepare(model, [inputs[number] for number in numbers])
            state = (forward or family.forward)(model, batch)
            answers |= dict(zip(numbers, _decoded(family, model, state, inputs, numbers, wishes), strict=True))
    return [answers[number] for number in range(len(inputs))]


def _decoded(
    family: Any,
    model: Any,
    state: Any,
    inputs: Sequence[Input],
    numbers: Sequence[int],
    wishes: Sequence[Wish] | None,
) -> Iterator[Answer]:
    wished = [wishes[number] for number in numbers] if wishes else []
    if not any(wished):
        return cast("Iterator[Answer]", family.decode(model, state))
    return cast("Iterator[Answer]", family.decode_with(model, state, [inputs[n] for n in numbers], wished))
