"""Family `classifier`: a small encoder with a head over the leaves of the label tree.

The encoder is made from scratch (character n-grams) or pretrained (transformers); everything else is the same.
Legend: B texts, D width, L leaves, M members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from hotline.digests import canonical_json
from hotline.errors import InputError, IntegrityError
from hotline.families import choice, graphs
from hotline.families.bases import base_digest as pretrained_digest
from hotline.families.classifier_options import ClassifierOptions, NgramOptions
from hotline.families.encoders import PretrainedEncoder
from hotline.families.ngrams import NgramEncoder
from hotline.labels import LabelTree
from hotline.task import Answer, Input, Target, Task
from hotline.wishes import Abilities, Wish

WEIGHTS_FILE, OPTIONS_FILE, DECLARATION_FILE, ENCODER_FOLDER = (
    "model.safetensors",
    "classifier.json",
    "task.json",
    "encoder",
)
ALTERNATIVES = 4
"""Answers beside the best one."""


class Classifier(nn.Module):
    """Encoder → dropout → a head per member, whose logits are averaged and divided by a fitted temperature."""

    temperature: Tensor

    def __init__(self, task: Task, tree: LabelTree, encoder: NgramEncoder | PretrainedEncoder) -> None:
        super().__init__()
        self.task, self.tree, self.encoder = task, tree, encoder
        self.label_field = str(task.label_field)
        self.targets = [task.target.model_validate({self.label_field: leaf}) for leaf in tree.leaves]
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
    if tree is None:
        raise InputError(f"{task.name} has no label tree", expected="a target with a path of the label tree")
    chosen = options.root
    if isinstance(chosen, NgramOptions):
        classes_of = _classes(tree, str(task.label_field), targets)
        encoder: NgramEncoder | PretrainedEncoder = NgramEncoder.fit(
            chosen, [_text(input) for input in inputs], classes_of, len(tree.leaves)
        )
    else:
        encoder = PretrainedEncoder.from_base(chosen)
    return Classifier(task, tree, encoder)


def save(model: Classifier, folder: Path) -> None:
    """model.safetensors, classifier.json, labels.json, task.json, and for a pretrained encoder its tokenizer."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    (folder / OPTIONS_FILE).write_text(model.encoder.options.model_dump_json(indent=1), encoding="utf-8")
    (folder / DECLARATION_FILE).write_text(canonical_json(model.task.declaration()), encoding="utf-8")
    model.tree.save(folder)
    if isinstance(model.encoder, PretrainedEncoder):
        model.encoder.save(folder / ENCODER_FOLDER)


def load(folder: Path, task: Task) -> Classifier:
    """The saved classifier, ready to answer. Raises IntegrityError when it was made for another declaration."""
    declared = json.loads((folder / DECLARATION_FILE).read_text(encoding="utf-8"))
    if declared != json.loads(canonical_json(task.declaration())):
        raise IntegrityError(
            f"the model was made for another declaration of {declared.get('task')!r}",
            where=str(folder / DECLARATION_FILE),
            expected=f"the declaration of {task.name!r} in this version",
            next="hotline train a recipe of this task again",
        )
    options = ClassifierOptions.model_validate_json((folder / OPTIONS_FILE).read_text(encoding="utf-8")).root
    weights = load_file(folder / WEIGHTS_FILE)
    if isinstance(options, NgramOptions):
        encoder: NgramEncoder | PretrainedEncoder = NgramEncoder(options, len(weights["encoder.buckets"]))
    else:
        encoder = PretrainedEncoder.from_saved(options, folder / ENCODER_FOLDER)
    model = Classifier(task, LabelTree.load(folder), encoder)
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
    batch = model.encoder.prepare([_text(input) for input in inputs])
    if targets is not None:
        batch["target"] = torch.from_numpy(_classes(model.tree, model.label_field, targets))
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
    best = state.exp().topk(min(ALTERNATIVES + 1, state.shape[1]), dim=-1)
    for probabilities, leaves in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        ranked = [(model.targets[leaf], min(1.0, p)) for leaf, p in zip(leaves, probabilities, strict=True)]
        yield Answer.model_construct(target=ranked[0][0], confidence=ranked[0][1], alternatives=tuple(ranked[1:]))


def abilities(model: Classifier) -> Abilities:
    """Its leaves, among which a caller may have it choose."""
    return Abilities(labels=model.tree.leaves)


def decode_with(model: Classifier, state: Tensor, inputs: Sequence[Input], wishes: Sequence[Wish]) -> Iterator[Answer]:
    """The same; where options are wished for, each of them with the sum of its leaves' probabilities, best first."""
    for answer, scores_L, wish in zip(decode(model, state), state, wishes, strict=True):
        yield choice.among(model.task, model.tree, scores_L, wish.options) if wish.options else answer


def parameter_groups(model: Classifier, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only, and not for the n-gram table: its rare rows would fade between visits."""
    table = {id(model.encoder.table.weight)} if isinstance(model.encoder, NgramEncoder) else set()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [p for p in parameters if p.ndim > 1 and id(p) not in table]
    rest = [p for p in parameters if p.ndim <= 1 or id(p) in table]
    return [
        {"params": decayed, "lr": learning_rate, "weight_decay": weight_decay},
        {"params": rest, "lr": learning_rate, "weight_decay": 0.0},
    ]


def finish(model: Classifier, inputs: Sequence[Input], targets: Sequence[Target]) -> dict[str, float]:
    """Temperature scaling on the validation split (Guo et al. 2017); gives back the temperature."""
    from scipy.optimize import minimize_scalar

    model.eval()
    with torch.inference_mode():
        logits_BL = torch.cat(
            [_logits(model, prepare(model, inputs[at : at + 256])) for at in range(0, len(inputs), 256)]
        ).double()
    truth_B = torch.from_numpy(_classes(model.tree, model.label_field, targets))

    def cross_entropy(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits_BL / float(np.exp(log_temperature)), truth_B))

    found = minimize_scalar(cross_entropy, bounds=(-2.5, 2.5), method="bounded")
    model.temperature.fill_(float(np.exp(found.x)))
    return {"validation/temperature": float(model.temperature)}


def _logits(model: Classifier, batch: Mapping[str, Tensor]) -> Tensor:
    return _member_logits(model, batch).mean(dim=0)


def _member_logits(model: Classifier, batch: Mapping[str, Tensor]) -> Tensor:
    parts_MBD = model.dropout(model.encoder(batch)).chunk(model.members, dim=-1)
    return torch.stack([head(part_BD) for head, part_BD in zip(model.heads, parts_MBD, strict=True)])


def _text(input: Input) -> str:
    """Every text field of the input, in the order of its declaration."""
    return "\n".join(value for name in type(input).model_fields if isinstance(value := getattr(input, name), str))


def _classes(tree: LabelTree, label_field: str, targets: Sequence[Target]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([tree.index[getattr(target, label_field)] for target in targets], dtype=np.int64)
