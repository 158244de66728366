"""Family `embedder`: question and entry go through one encoder, and the nearest entry is the answer.

The entries are the leaves of the label tree, each by its own text, so that a new entry can be put in without training.
Vectors have length 1; a score is their cosine times a learnt scale. The leaf `labels.NONE` has no vector: it scores
like an entry at a learnt cosine, which the others have to reach.
Legend: B texts, D dimensions, E entries of a batch, L leaves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from hotline import labels
from hotline.families import choice, graphs, leaves
from hotline.families.bases import base_digest as pretrained_digest
from hotline.families.embedder_options import EmbedderOptions, NgramVectors, PretrainedVectors
from hotline.families.leaves import Classes, Encoder
from hotline.labels import LabelTree
from hotline.task import Answer, Input, Target, Task
from hotline.wishes import Abilities, Vector, Wish

OPTIONS_FILE = "embedder.json"
ENTRY = "entry."
"""Before the names of a batch's tensors that are of entries."""
TEXTS_AT_ONCE = 256
FIRST_SCALE, LARGEST_SCALE = 10.0, 100.0
FIRST_NONE = 0.3
"""The cosine that an entry has to reach, before training."""


class State(NamedTuple):
    """What `decode` reads."""

    scores_BL: Tensor
    """Calibrated log-probabilities."""
    vector_BD: Tensor
    """Of the questions, of length 1."""


class Embedder(nn.Module):
    """Encoder → dropout → projection → length 1, for questions and entries alike."""

    temperature: Tensor
    entry_LD: Tensor

    def __init__(
        self, task: Task, tree: LabelTree, encoder: Encoder, options: NgramVectors | PretrainedVectors
    ) -> None:
        super().__init__()
        self.task, self.tree, self.encoder, self.options = task, tree, encoder, options
        self.targets = leaves.targets_of(task, tree)
        self.texts = [entry_text(leaf) for leaf in tree.leaves]
        self.dropout = nn.Dropout(options.dropout)
        self.projection = nn.Linear(encoder.width, options.dimensions)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.none = nn.Parameter(torch.tensor(FIRST_NONE))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("entry_LD", torch.zeros(len(tree.leaves), options.dimensions))
        self.stale = True
        """Whether the entries' vectors are older than the weights."""
        self.graph: graphs.Graph | None = None
        """What answers in place of the layers, in a converted version."""

    def train(self, mode: bool = True) -> Embedder:
        self.stale = self.stale or mode
        return super().train(mode)


def entry_text(leaf: str) -> str:
    """What is read of an entry: every level of its path."""
    return leaf.replace(labels.SEPARATOR, "\n")


def base_digest(options: EmbedderOptions) -> str | None:
    """Digest of the pretrained files; None from scratch."""
    return None if isinstance(options.root, NgramVectors) else pretrained_digest(options.root)


def create(
    options: EmbedderOptions, task: Task, tree: LabelTree | None, inputs: Sequence[Input], targets: Sequence[Target]
) -> Embedder:
    """A fresh embedder; from scratch its features come from the training texts and those of the entries."""
    tree = leaves.required(task, tree)
    classes = np.concatenate([leaves.classes_of(task, tree, targets), np.arange(len(tree.leaves))])
    texts = [*(leaves.text_of(input) for input in inputs), *(entry_text(leaf) for leaf in tree.leaves)]
    return Embedder(task, tree, leaves.fresh(options.root, texts, classes, len(tree.leaves)), options.root)


def save(model: Embedder, folder: Path) -> None:
    """model.safetensors with the entries' vectors, embedder.json, labels.json, task.json, a pretrained tokenizer."""
    index(model)
    leaves.save(model, model.task, model.tree, model.encoder, folder)
    (folder / OPTIONS_FILE).write_text(model.options.model_dump_json(indent=1), encoding="utf-8")


def load(folder: Path, task: Task) -> Embedder:
    """The saved embedder, ready to answer. Raises IntegrityError when it was made for another declaration."""
    leaves.check_declaration(folder, task)
    options = EmbedderOptions.model_validate_json((folder / OPTIONS_FILE).read_text(encoding="utf-8")).root
    weights = load_file(folder / leaves.WEIGHTS_FILE)
    model = Embedder(task, LabelTree.load(folder), leaves.restored(options, folder, weights), options)
    model.load_state_dict(weights)
    model.stale = False
    model.graph = graphs.find(folder)
    return model.eval()


def with_entries(model: Embedder, tree: LabelTree) -> Embedder:
    """The same weights over another tree: what was learnt of questions finds entries that training never had."""
    other = Embedder(model.task, tree, model.encoder, model.options)
    kept = {name: tensor for name, tensor in model.state_dict().items() if name != "entry_LD"}
    other.load_state_dict(kept, strict=False)
    return other.eval()


def index(model: Embedder) -> None:
    """Make the entries' vectors where the weights have changed since."""
    if not model.stale:
        return
    model.eval()
    device = model.entry_LD.device
    with torch.inference_mode():
        for at in range(0, len(model.texts), TEXTS_AT_ONCE):
            batch = model.encoder.prepare(model.texts[at : at + TEXTS_AT_ONCE])
            model.entry_LD[at : at + TEXTS_AT_ONCE] = _vectors(model, {n: t.to(device) for n, t in batch.items()})
    model.stale = False


def prepare(
    model: Embedder,
    inputs: Sequence[Input],
    targets: Sequence[Target] | None = None,
    draws: Sequence[np.random.Generator] | None = None,
) -> dict[str, Tensor]:
    """The encoder's tensors; with targets also those of entries to learn against, their class numbers as class_E, and
    the place of each target among them as target_B under the name `target`.

    Texts are not augmented: `draws` change nothing.
    """
    batch = model.encoder.prepare([leaves.text_of(input) for input in inputs])
    if targets is not None:
        truth_B = leaves.classes_of(model.task, model.tree, targets)
        class_E = _learnt_against(model, truth_B)
        entries = model.encoder.prepare([model.texts[number] for number in class_E])
        batch |= {ENTRY + name: tensor for name, tensor in entries.items()}
        batch["class_E"] = torch.from_numpy(class_E)
        batch["target"] = torch.from_numpy(np.searchsorted(class_E, truth_B))
    return batch


def loss(model: Embedder, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean cross entropy in nats of the right entry among those of the batch (van den Oord et al. 2018, InfoNCE)."""
    entries = {name.removeprefix(ENTRY): tensor for name, tensor in batch.items() if name.startswith(ENTRY)}
    logits_BE = _logits(model, _vectors(model, batch), _vectors(model, entries), batch["class_E"])
    return functional.cross_entropy(logits_BE, batch["target"])


def forward(model: Embedder, batch: Mapping[str, Tensor]) -> State:
    """Calibrated log-probabilities of every leaf, and the questions' vectors."""
    if model.graph is not None:
        return of_tensors(model.graph(batch))
    index(model)
    vector_BD = _vectors(model, batch)
    logits_BL = _logits(model, vector_BD, model.entry_LD, torch.arange(len(model.texts), device=vector_BD.device))
    return State(functional.log_softmax(logits_BL / model.temperature, dim=-1), vector_BD)


def to_tensors(state: State) -> dict[str, Tensor]:
    """The state by names, as a graph gives it out."""
    return state._asdict()


def of_tensors(tensors: Mapping[str, Tensor]) -> State:
    """The state that these are."""
    return State(**tensors)


def decode(model: Embedder, state: State) -> Iterator[Answer]:
    """The best leaf with its probability, and the next ones."""
    return leaves.ranked(model.targets, state.scores_BL)


def abilities(model: Embedder) -> Abilities:
    """Vectors, and its leaves, among which a caller may have it choose."""
    return Abilities(labels=model.tree.leaves, dimensions=model.options.dimensions)


def decode_with(model: Embedder, state: State, inputs: Sequence[Input], wishes: Sequence[Wish]) -> Iterator[Answer]:
    """The same, with the question's vector or among the options, where those are wished for."""
    tokens = model.encoder.lengths([leaves.text_of(input) for input in inputs])
    every = zip(decode(model, state), state.scores_BL, state.vector_BD.tolist(), tokens, wishes, strict=True)
    for answer, scores_L, vector, count, wish in every:
        found = choice.among(model.task, model.tree, scores_L, wish.options) if wish.options else answer
        made = Vector(values=tuple(vector), tokens=count) if wish.vector else None
        yield found.model_copy(update={"vector": made})


def parameter_groups(model: Embedder, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only, and not for the n-gram table."""
    return leaves.parameter_groups(model, model.encoder, learning_rate, weight_decay)


def finish(model: Embedder, inputs: Sequence[Input], targets: Sequence[Target]) -> dict[str, float]:
    """Temperature scaling on the validation split; gives back the temperature and what was learnt beside weights."""
    model.eval()
    model.temperature.fill_(1.0)
    with torch.inference_mode():
        scores_BL = torch.cat(
            [
                forward(model, prepare(model, inputs[at : at + TEXTS_AT_ONCE])).scores_BL
                for at in range(0, len(inputs), TEXTS_AT_ONCE)
            ]
        )
    truth_B = torch.from_numpy(leaves.classes_of(model.task, model.tree, targets))
    model.temperature.fill_(leaves.temperature(scores_BL, truth_B))
    figures = {"temperature": model.temperature, "scale": _scale(model), "cosine_of_none": model.none}
    return {f"validation/{name}": float(value.detach()) for name, value in figures.items()}


def _learnt_against(model: Embedder, truth_B: Classes) -> Classes:
    """Class numbers, ascending, of the leaves that a batch is learnt against."""
    if len(model.texts) <= model.options.entries_at_once:
        return np.arange(len(model.texts))
    always = [] if model.tree.none is None else [model.tree.none]
    return np.unique([*truth_B, *always])


def _vectors(model: Embedder, batch: Mapping[str, Tensor]) -> Tensor:
    return functional.normalize(model.projection(model.dropout(model.encoder(batch))), dim=-1)


def _logits(model: Embedder, vector_BD: Tensor, entry_ED: Tensor, class_E: Tensor) -> Tensor:
    cosine_BE = vector_BD @ entry_ED.T
    if model.tree.none is not None:
        cosine_BE = torch.where(class_E == model.tree.none, model.none, cosine_BE)
    return _scale(model) * cosine_BE


def _scale(model: Embedder) -> Tensor:
    return model.log_scale.exp().clamp(max=LARGEST_SCALE)
