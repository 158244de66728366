"""Family `cascade`: a classifier answers; where it is less sure than a threshold, a writer is asked, too.

What the writer says counts when it is a leaf of the classifier's tree, else the classifier's answer stands.
Legend: B rows, T tokens, L leaves.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hotline import digests, families
from hotline.errors import InputError, IntegrityError
from hotline.families import choice, classifier, leaves, writer
from hotline.families.classifier import Classifier
from hotline.families.writer import Writer
from hotline.records import Digest
from hotline.task import Answer, Input, Target, Task
from hotline.wishes import Abilities, Wish

PLAN_FILE = "cascade.json"
Part = Literal["small", "large"]
SMALL, LARGE = "small", "large"
"""The classifier's and the writer's folder, and what answers say that they were given by."""
IN_VAIN = "small_after_large"
"""The writer was asked and named no leaf; the classifier's answer stands."""
Written = tuple[list[int], float]
"""What the writer's `decode` reads: an answer's tokens, and how sure it is of them."""


class Plan(BaseModel):
    """How two versions answer as one; it lies among the files, so the version's digest covers it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    threshold: Annotated[float, Field(ge=0, le=1)]
    """The writer is asked where the classifier's calibrated confidence is below: never at 0."""
    reading: Literal["exact"] = "exact"
    """A writer's text is a leaf's path, perhaps between quotes or before a full stop; or it is no label."""
    parts: Annotated[dict[Part, Digest], Field(min_length=2)]
    """Merkle roots over each part's folder: those of the registered versions."""


class Cascade(nn.Module):
    """Both parts, and the plan that they answer by."""

    def __init__(self, task: Task, plan: Plan, small: Classifier, large: Writer) -> None:
        super().__init__()
        self.task, self.plan, self.small, self.large = task, plan, small, large


class State(NamedTuple):
    """What both parts make of a batch."""

    scores_BL: Tensor
    """The classifier's calibrated log-probabilities."""
    said: Sequence[Written | None]
    """What the writer says of each row; None where it was not asked."""


def assemble(small: Path, large: Path, threshold: float, folder: Path) -> Plan:
    """Both versions' files and cascade.json in `folder`; the same parts and threshold always make the same bytes.

    Raises InputError for a threshold that is no probability.
    """
    if not 0 <= threshold <= 1:
        raise InputError("the threshold is a probability", found=threshold, expected="0 to 1")
    for name, source in ((SMALL, small), (LARGE, large)):
        shutil.copytree(source, folder / name, copy_function=shutil.copyfile)
    return _write_plan(folder, threshold)


def save(model: Cascade, folder: Path) -> None:
    """The parts as their families save them, and cascade.json."""
    for name in (SMALL, LARGE):
        (folder / name).mkdir()
    classifier.save(model.small, folder / SMALL)
    writer.save(model.large, folder / LARGE)
    _write_plan(folder, model.plan.threshold)


def load(folder: Path, task: Task) -> Cascade:
    """The saved cascade, ready to answer.

    Raises IntegrityError when a part is not the one of cascade.json, or was made for another declaration.
    """
    plan = Plan.model_validate_json((folder / PLAN_FILE).read_text(encoding="utf-8"))
    for name, digest in plan.parts.items():
        found = _digest(folder / name)
        if found != digest:
            raise IntegrityError(
                f"the {name} part is not the version that the cascade was made of",
                where=str(folder / name),
                found=found,
                expected=digest,
                next="hotline cascade SMALL@VERSION LARGE@VERSION again, then judge and promote it",
            )
    small = classifier.load(folder / SMALL, families.by(task, "classifier"))
    large = writer.load(folder / LARGE, families.by(task, "writer"))
    return Cascade(task, plan, small, large).eval()


def prepare(
    model: Cascade,
    inputs: Sequence[Input],
    targets: Sequence[Target] | None = None,
    draws: Sequence[np.random.Generator] | None = None,
) -> dict[str, Tensor]:
    """Both parts' tensors under `small.` and `large.`. A cascade is not trained: targets and draws change nothing."""
    batches = {SMALL: classifier.prepare(model.small, inputs), LARGE: writer.prepare(model.large, inputs)}
    return {f"{part}.{name}": tensor for part, batch in batches.items() for name, tensor in batch.items()}


def forward(model: Cascade, batch: Mapping[str, Tensor]) -> State:
    """The classifier's scores of all rows, and the writer's answers to those that it is not sure of."""
    scores_BL = classifier.forward(model.small, _of(batch, SMALL))
    best_B = scores_BL.exp().amax(dim=-1).tolist()
    unsure = [row for row, sure in enumerate(best_B) if sure < model.plan.threshold]
    said: list[Written | None] = [None] * len(best_B)
    if unsure:
        asked = {name: tensor[unsure] for name, tensor in _of(batch, LARGE).items()}
        for row, written in zip(unsure, writer.forward(model.large, asked), strict=True):
            said[row] = written
    return State(scores_BL, said)


def decode(model: Cascade, state: State) -> Iterator[Answer]:
    """The answer of the part whose it is, and which part that was."""
    for quick, said in zip(classifier.decode(model.small, state.scores_BL), state.said, strict=True):
        yield settled(model, quick, said)


def is_sure(model: Cascade, quick: Answer) -> bool:
    """Whether the classifier's answer stands without asking the writer."""
    return quick.confidence >= model.plan.threshold


def settled(model: Cascade, quick: Answer, said: Written | None) -> Answer:
    """What the cascade answers when the classifier says `quick` and the writer `said`, if it was asked."""
    if said is None:
        return quick.model_copy(update={"answered_by": SMALL})
    numbers, sure = said
    label = model.small.tree.named(model.large.chat.decoded(numbers))
    if label is None:
        return quick.model_copy(update={"answered_by": IN_VAIN})
    target = model.small.targets[model.small.tree.index[label]]
    sure = min(1.0, sure)
    others = _others(quick, target, 1.0 - sure)
    return Answer.model_construct(target=target, confidence=sure, alternatives=others, answered_by=LARGE)


def abilities(model: Cascade) -> Abilities:
    """The classifier's leaves, among which a caller may have it choose."""
    return classifier.abilities(model.small)


def decode_with(model: Cascade, state: State, inputs: Sequence[Input], wishes: Sequence[Wish]) -> Iterator[Answer]:
    """The same; where options are wished for, the classifier's probabilities of them: a writer has none."""
    for answer, scores_L, wish in zip(decode(model, state), state.scores_BL, wishes, strict=True):
        yield chosen(model, scores_L, wish.options) if wish.options else answer


def chosen(model: Cascade, scores_L: Tensor, options: Sequence[str]) -> Answer:
    """The classifier's choice among the options."""
    found = choice.among(model.task, model.small.tree, scores_L, options)
    return found.model_copy(update={"answered_by": SMALL})


def _others(quick: Answer, target: Target, left: float) -> tuple[tuple[Target, float], ...]:
    """What the classifier considered beside the writer's answer; together at most the probability that is left."""
    ranked = [pair for pair in ((quick.target, quick.confidence), *quick.alternatives) if pair[0] != target]
    kept = ranked[: leaves.ALTERNATIVES]
    scale = min(1.0, left / (sum(share for _, share in kept) or 1.0))
    return tuple((other, share * scale) for other, share in kept)


def _of(batch: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in batch.items() if name.startswith(f"{part}.")}


def _write_plan(folder: Path, threshold: float) -> Plan:
    plan = Plan(threshold=threshold, parts={"small": _digest(folder / SMALL), "large": _digest(folder / LARGE)})
    (folder / PLAN_FILE).write_text(plan.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return plan


def _digest(folder: Path) -> str:
    return digests.merkle_root(digests.of_files(folder))
