"""Family `classifier`: a small encoder with a head over the leaves of the label tree.

The encoder is made from scratch (character n-grams) or pretrained (transformers); everything else is the same.
Legend: B texts, D width, L leaves, M members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from hotline.families import choice, graphs, leaves
from hotline.families.bases import base_digest as pretrained_digest
from hotline.families.classifier_options import ClassifierOptions, NgramOptions
from hotline.families.leaves import Encoder
from hotline.families.ngrams import NgramEncoder
from hotline.labels import LabelTree
from hotline.task import Answer, Input, Target, Task
from hotline.wishes import Abilities, Wish

OPTIONS_FILE = "classifier.json"


class Classifier(nn.Module):
    """Encoder → dropout → a head per member, whose logits are averaged and divided by a fitted temperature."""

    temperature: Tensor

    def __init__(self, task: Task, tree: LabelTree, encoder: Encoder) -> None:
        super().__init__()
        self.task, self.tree, self.encoder = task, tree, encoder
        self.targets = leaves.targets_of(task, tree)
        self.dropout = nn.Dropout(encoder.options.dropout)
        self.members = encoder.options.members if isinstance(encoder, NgramEncoder) else 1
        width = encoder.width // self.members
        self.heads = nn.ModuleList(nn.Linear(width, len(tree.leaves)) for _ in range(self.members))
        self.register_buffer("temperature", torch.ones(()))
        self.graph: graphs.Graph | None = None
        """What answers in place of the layers, in a converted version."""


def base_digest(options: ClassifierOptions) -> str | None:
    """Digest of the pretrained files; None from scratch."""
    return None if isinstance(options.root, NgramOptions) else pretrained_digest(options.root)


def create(
    options: ClassifierOptions, task: Task, tree: LabelTree | None, inputs: Sequence[Input], targets: Sequence[Target]
) -> Classifier:
    """A fresh classifier; from scratch its features come from the training texts."""
    tree = leaves.required(task, tree)
    classes = leaves.classes_of(task, tree, targets)
    texts = [leaves.text_of(input) for input in inputs]
    return Classifier(task, tree, leaves.fresh(options.root, texts, classes, len(tree.leaves)))


def save(model: Classifier, folder: Path) -> None:
    """model.safetensors, classifier.json, labels.json, task.json, and for a pretrained encoder its tokenizer."""
    leaves.save(model, model.task, model.tree, model.encoder, folder)
    (folder / OPTIONS_FILE).write_text(model.encoder.options.model_dump_json(indent=1), encoding="utf-8")


def load(folder: Path, task: Task) -> Classifier:
    """The saved classifier, ready to answer. Raises IntegrityError when it was made for another declaration."""
    leaves.check_declaration(folder, task)
    options = ClassifierOptions.model_validate_json((folder / OPTIONS_FILE).read_text(encoding="utf-8")).root
    weights = load_file(folder / leaves.WEIGHTS_FILE)
    model = Classifier(task, LabelTree.load(folder), leaves.restored(options, folder, weights))
    model.load_state_dict(weights)
    model.graph = graphs.find(folder)
    return model.eval()


def prepare(
    model: Classifier,
    inputs: Sequence[Input],
    targets: Sequence[Target] | None = None,
    draws: Sequence[np.random.Generator] | None = None,
) -> dict[str, Tensor]:
    """The encoder's tensors, and with targets their class numbers as target_B under the name `target`.

    Texts are not augmented: `draws` change nothing.
    """
    batch = model.encoder.prepare([leaves.text_of(input) for input in inputs])
    if targets is not None:
        batch["target"] = torch.from_numpy(leaves.classes_of(model.task, model.tree, targets))
    return batch


def loss(model: Classifier, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean cross entropy in nats; every member learns on its own."""
    each_MBL = _member_logits(model, batch)
    return functional.cross_entropy(each_MBL.flatten(0, 1), batch["target"].repeat(model.members))


def forward(model: Classifier, batch: Mapping[str, Tensor]) -> Tensor:
    """Calibrated log-probabilities, (B, L)."""
    if model.graph is not None:
        return of_tensors(model.graph(batch))
    return functional.log_softmax(_logits(model, batch) / model.temperature, dim=-1)


def to_tensors(state: Tensor) -> dict[str, Tensor]:
    """The state by names, as a graph gives it out."""
    return {"scores_BL": state}


def of_tensors(tensors: Mapping[str, Tensor]) -> Tensor:
    """The state that these are."""
    return tensors["scores_BL"]


def decode(model: Classifier, state: Tensor) -> Iterator[Answer]:
    """The best leaf with its probability, and the next ones."""
    return leaves.ranked(model.targets, state)


def abilities(model: Classifier) -> Abilities:
    """Its leaves, among which a caller may have it choose."""
    return Abilities(labels=model.tree.leaves)


def decode_with(model: Classifier, state: Tensor, inputs: Sequence[Input], wishes: Sequence[Wish]) -> Iterator[Answer]:
    """The same; where options are wished for, each of them with the sum of its leaves' probabilities, best first."""
    for answer, scores_L, wish in zip(decode(model, state), state, wishes, strict=True):
        yield choice.among(model.task, model.tree, scores_L, wish.options) if wish.options else answer


def parameter_groups(model: Classifier, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only, and not for the n-gram table."""
    return leaves.parameter_groups(model, model.encoder, learning_rate, weight_decay)


def finish(model: Classifier, inputs: Sequence[Input], targets: Sequence[Target]) -> dict[str, float]:
    """Temperature scaling on the validation split; gives back the temperature."""
    model.eval()
    with torch.inference_mode():
        logits_BL = torch.cat(
            [_logits(model, prepare(model, inputs[at : at + 256])) for at in range(0, len(inputs), 256)]
        )
    truth_B = torch.from_numpy(leaves.classes_of(model.task, model.tree, targets))
    model.temperature.fill_(leaves.temperature(logits_BL, truth_B))
    return {"validation/temperature": float(model.temperature)}


def _logits(model: Classifier, batch: Mapping[str, Tensor]) -> Tensor:
    return _member_logits(model, batch).mean(dim=0)


def _member_logits(model: Classifier, batch: Mapping[str, Tensor]) -> Tensor:
    parts_MBD = model.dropout(model.encoder(batch)).chunk(model.members, dim=-1)
    return torch.stack([head(part_BD) for head, part_BD in zip(model.heads, parts_MBD, strict=True)])
