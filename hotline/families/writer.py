"""Family `writer`: a causal language model that is asked in a chat template and answers with a text.

Only answer tokens are learnt; in training the rows of a batch lie one after another without padding (answer_rows.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from hotline.digests import canonical_json
from hotline.errors import IntegrityError
from hotline.families import (
    Size,
    adapters,
    answer_rows,
    bases,
    generation,
    language_models,
    merging,
    row_attention,
    writer_merge,
)
from hotline.families.chat import Chat, written_field
from hotline.families.recognisers import confidence
from hotline.families.writer_options import PretrainedWriterOptions, ScratchOptions, WriterOptions
from hotline.labels import LabelTree
from hotline.task import Answer, Input, Target, Task

PACKS = True
CHECKPOINT_FOLDER, MODEL_FILE, DECLARATION_FILE = "checkpoint", "writer.json", "task.json"
_TEXTS = 200_000
"""Rows that a tokenizer is trained on at most, evenly taken."""
log = logging.getLogger(__name__)


class Writer(nn.Module):
    """A language model with the task's chat. `adapter` is what its layers carry and is not yet merged."""

    def __init__(self, task: Task, options: WriterOptions, model: Any, tokenizer: Any) -> None:
        super().__init__()
        chosen = options.root
        self.task, self.options, self.model = task, options, model
        ends = model.generation_config.eos_token_id if model.generation_config else None
        known = ends if isinstance(ends, list) else [ends] if ends is not None else []
        self.chat = Chat(task, tokenizer, known, chosen.max_tokens, chosen.max_answer_tokens)
        self.adapter = chosen.adapter if isinstance(chosen, PretrainedWriterOptions) else None
        self.base: str | None = None
        """Digest of the base that an adapter belongs to."""
        self.report: merging.Report | None = None
        self.by_rows = row_attention.install(model)
        if chosen.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


def base_digest(options: WriterOptions) -> str | None:
    """Digest of the pretrained files; None from scratch."""
    return None if isinstance(options.root, ScratchOptions) else bases.base_digest(options.root)


def create(
    options: WriterOptions, task: Task, tree: LabelTree | None, inputs: Sequence[Input], targets: Sequence[Target]
) -> Writer:
    """A fresh writer; from scratch its tokens come from the training texts, and with an adapter its base is frozen."""
    chosen = options.root
    if isinstance(chosen, ScratchOptions):
        return Writer(task, options, *language_models.fresh(chosen, _texts(task, inputs, targets)))
    quantised = chosen.adapter is not None and chosen.adapter.kind == "qlora"
    writer = Writer(task, options, *language_models.from_base(chosen, **(adapters.in_four_bits() if quantised else {})))
    if chosen.adapter:
        adapters.inject(writer.model, chosen.adapter)
        writer.base = bases.base_digest(chosen)
        if chosen.checkpointing:
            writer.model.enable_input_require_grads()
    return writer


def save(model: Writer, folder: Path) -> None:
    """writer.json, task.json, and a checkpoint of transformers, or of peft for an adapter that is not merged."""
    chosen, place = model.options.root, folder / CHECKPOINT_FOLDER
    if model.adapter and isinstance(chosen, PretrainedWriterOptions):
        adapters.save(model.model, model.adapter, chosen.base, place)
    else:
        language_models.save_checkpoint(model.model, model.chat.tokenizer, place, chosen)
    described = {"options": model.options.model_dump(mode="json"), "adapter_of": model.base if model.adapter else None}
    (folder / MODEL_FILE).write_text(json.dumps(described, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / DECLARATION_FILE).write_text(canonical_json(model.task.declaration()), encoding="utf-8")
    if model.report:
        merging.save(model.report, folder)


def load(folder: Path, task: Task) -> Writer:
    """The saved writer, ready to answer.

    Raises IntegrityError when it was made for another declaration, or for another base than the recipe's name now has.
    """
    declared = json.loads((folder / DECLARATION_FILE).read_text(encoding="utf-8"))
    if declared != json.loads(canonical_json(task.declaration())):
        raise IntegrityError(
            f"the model was made for another declaration of {declared.get('task')!r}",
            where=str(folder / DECLARATION_FILE),
            expected=f"the declaration of {task.name!r} in this version",
            next="hotline train a recipe of this task again",
        )
    described = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    options = WriterOptions.model_validate(described["options"])
    place, chosen = folder / CHECKPOINT_FOLDER, options.root
    if described["adapter_of"] is None:
        writer = Writer(task, options, *language_models.from_folder(place, chosen))
        writer.adapter = None
        return writer.eval()
    assert isinstance(chosen, PretrainedWriterOptions) and chosen.adapter
    bases.require(chosen, described["adapter_of"])
    writer = Writer(task, options, *language_models.from_base(chosen))
    adapters.load(writer.model, chosen.adapter, place)
    writer.base = described["adapter_of"]
    return writer.eval()


def measure(model: Writer, inputs: Sequence[Input], targets: Sequence[Target]) -> list[Size]:
    """Tokens of prompt and answer as a batch will hold them, and of the answer alone, for each row.

    What max_tokens cuts is said in the log, with how many rows lose how many tokens.
    """
    chat, sizes, cut = model.chat, [], []
    for given, (prompt, answer) in zip(inputs, chat.whole_sizes(inputs, targets), strict=True):
        asked = prompt if prompt <= chat.prompt_tokens else len(chat.asked([given])[0])
        answered = min(answer, chat.answer_tokens)
        sizes.append(Size(asked + answered, answered))
        cut.append(prompt + answer - asked - answered)
    if any(cut):
        rows = sum(each > 0 for each in cut)
        log.warning("max_tokens cuts %d tokens of %d of %d rows", sum(cut), rows, len(cut))
    return sizes


def prepare(
    model: Writer,
    inputs: Sequence[Input],
    targets: Sequence[Target] | None = None,
    draws: Sequence[np.random.Generator] | None = None,
    packs: Sequence[Sequence[int]] | None = None,
) -> dict[str, Tensor]:
    """Prompts as token_BT with mask_BT, their ends aligned; with targets `rows`, in the order of `packs`.

    No row of a batch sees another, so that packing changes what shares a step and nothing else. `draws` change nothing.
    """
    prompts = model.chat.asked(inputs)
    if targets is None:
        token_BT, mask_BT = generation.left_padded(prompts, model.chat.pad)
        return {"token_BT": token_BT, "mask_BT": mask_BT}
    answers = model.chat.answered(targets)
    order = range(len(prompts)) if packs is None else [number for pack in packs for number in pack]
    return answer_rows.rows([prompts[number] for number in order], [answers[number] for number in order])


def loss(model: Writer, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean cross entropy of the answer tokens in nats."""
    return functional.cross_entropy(answer_rows.logits(model, batch).float(), batch["next_A"])


def forward(model: Writer, batch: Mapping[str, Tensor]) -> list[tuple[list[int], float]]:
    """The answer's tokens to each prompt, without the end, and the geometric mean of their probabilities."""
    prompts = asked(batch)
    answers = generation.written(model.model, prompts, model.chat.limits, model.options.root.sampling)
    return [
        state(model, answer, shares)
        for answer, shares in zip(answers, answer_rows.shares(model, prompts, answers), strict=True)
    ]


def asked(batch: Mapping[str, Tensor]) -> list[list[int]]:
    """The prompts of a batch that was prepared without targets."""
    return [row[kept].tolist() for row, kept in zip(batch["token_BT"], batch["mask_BT"].bool(), strict=True)]


def state(model: Writer, answer: Sequence[int], shares: Sequence[float]) -> tuple[list[int], float]:
    """What `decode` reads: an answer without its end, and the geometric mean of all its tokens' probabilities."""
    ended = bool(answer) and answer[-1] in model.chat.ends
    return list(answer[:-1] if ended else answer), confidence(shares)


def decode(model: Writer, state: Sequence[tuple[list[int], float]]) -> Iterator[Answer]:
    """The written text of each row."""
    for numbers, sure in state:
        yield Answer(target=model.chat.read(numbers), confidence=min(1.0, sure))


def parameter_groups(model: Writer, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only. An adapter has nothing else, and DeepSpeed takes no empty group."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "lr": learning_rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def finish(model: Writer, inputs: Sequence[Input], targets: Sequence[Target]) -> dict[str, float]:
    """Merge the adapter, when the recipe wants it merged, verified on validation rows; the report's figures.

    Raises IntegrityError when the merged model answers differently, or the base's files have changed.
    """
    if model.adapter is None or not model.adapter.merge:
        return {}
    model.report = writer_merge.merge(model.eval(), inputs, targets)
    model.adapter = None
    return model.report.figures


def _texts(task: Task, inputs: Sequence[Input], targets: Sequence[Target]) -> Iterator[str]:
    """What a tokenizer is trained on: prompts and answers."""
    assert task.prompt is not None
    step = -(-len(inputs) // _TEXTS) or 1
    for given, target in zip(inputs[::step], targets[::step], strict=True):
        yield from (message["content"] for message in task.prompt.messages(given))
        yield str(getattr(target, written_field(task)))
