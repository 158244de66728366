"""What families share that read a text and answer with a leaf of the label tree: encoder, ranks, calibration, files.

Legend: B texts, D width, L leaves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from hotline.digests import canonical_json
from hotline.errors import InputError, IntegrityError
from hotline.families.classifier_options import NgramOptions, PretrainedOptions
from hotline.families.encoders import PretrainedEncoder
from hotline.families.ngrams import NgramEncoder
from hotline.labels import LabelTree
from hotline.task import Answer, Input, Target, Task

WEIGHTS_FILE, DECLARATION_FILE, ENCODER_FOLDER = "model.safetensors", "task.json", "encoder"
ALTERNATIVES = 4
"""Answers beside the best one."""
Encoder = NgramEncoder | PretrainedEncoder
Classes = np.ndarray[Any, np.dtype[np.int64]]


def required(task: Task, tree: LabelTree | None) -> LabelTree:
    """The tree. Raises InputError for a task without one."""
    if tree is None:
        raise InputError(f"{task.name} has no label tree", expected="a target with a path of the label tree")
    return tree


def targets_of(task: Task, tree: LabelTree) -> list[Target]:
    """The target that says each leaf, in the order of the tree."""
    return [task.target.model_validate({str(task.label_field): leaf}) for leaf in tree.leaves]


def text_of(input: Input) -> str:
    """Every text field of the input, in the order of its declaration."""
    return "\n".join(value for name in type(input).model_fields if isinstance(value := getattr(input, name), str))


def classes_of(task: Task, tree: LabelTree, targets: Sequence[Target]) -> Classes:
    """The class number of each target."""
    field = str(task.label_field)
    return np.array([tree.index[getattr(target, field)] for target in targets], dtype=np.int64)


def fresh(options: NgramOptions | PretrainedOptions, texts: Sequence[str], classes: Classes, leaves: int) -> Encoder:
    """An encoder for training; from scratch its features come from those texts and their classes."""
    if isinstance(options, NgramOptions):
        return NgramEncoder.fit(options, texts, classes, leaves)
    return PretrainedEncoder.from_base(options)


def restored(options: NgramOptions | PretrainedOptions, folder: Path, weights: Mapping[str, Tensor]) -> Encoder:
    """The encoder that was saved in that folder, still without its weights."""
    if isinstance(options, NgramOptions):
        return NgramEncoder(options, len(weights["encoder.buckets"]))
    return PretrainedEncoder.from_saved(options, folder / ENCODER_FOLDER)


def save(model: nn.Module, task: Task, tree: LabelTree, encoder: Encoder, folder: Path) -> None:
    """model.safetensors, task.json, labels.json, and for a pretrained encoder its configuration and tokenizer."""
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS_FILE)
    (folder / DECLARATION_FILE).write_text(canonical_json(task.declaration()), encoding="utf-8")
    tree.save(folder)
    if isinstance(encoder, PretrainedEncoder):
        encoder.save(folder / ENCODER_FOLDER)


def check_declaration(folder: Path, task: Task) -> None:
    """Raises IntegrityError when the model in that folder was made for another declaration."""
    declared = json.loads((folder / DECLARATION_FILE).read_text(encoding="utf-8"))
    if declared != json.loads(canonical_json(task.declaration())):
        raise IntegrityError(
            f"the model was made for another declaration of {declared.get('task')!r}",
            where=str(folder / DECLARATION_FILE),
            expected=f"the declaration of {task.name!r} in this version",
            next="hotline train a recipe of this task again",
        )


def ranked(targets: Sequence[Target], scores_BL: Tensor) -> Iterator[Answer]:
    """The best leaf with its probability, and the next ones, from calibrated log-probabilities."""
    best = scores_BL.exp().topk(min(ALTERNATIVES + 1, scores_BL.shape[1]), dim=-1)
    for probabilities, leaves in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        pairs = [(targets[leaf], min(1.0, p)) for leaf, p in zip(leaves, probabilities, strict=True)]
        yield Answer.model_construct(target=pairs[0][0], confidence=pairs[0][1], alternatives=tuple(pairs[1:]))


def parameter_groups(
    model: nn.Module, encoder: Encoder, learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Weight decay for matrices only, and not for the n-gram table: its rare rows would fade between visits."""
    table = {id(encoder.table.weight)} if isinstance(encoder, NgramEncoder) else set()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1 and id(p) not in table]
    rest = [p for p in parameters if p.ndim <= 1 or id(p) in table]
    return [
        {"params": decayed, "lr": learning_rate, "weight_decay": weight_decay},
        {"params": rest, "lr": learning_rate, "weight_decay": 0.0},
    ]


def temperature(logits_BL: Tensor, truth_B: Tensor) -> float:
    """What logits are divided by so that the cross entropy of the truth is smallest (Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar

    logits_BL = logits_BL.double()

    def cross_entropy(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits_BL / float(np.exp(log_temperature)), truth_B))

    found = minimize_scalar(cross_entropy, bounds=(-2.5, 2.5), method="bounded")
    return float(np.exp(found.x))
