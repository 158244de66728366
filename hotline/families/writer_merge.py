"""The verified merge of a writer's adapter: likeliest tokens at the true answers of held rows, and decoded texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hotline.families import adapters, answer_rows, bases, generation, language_models, merging, row_attention
from hotline.families.adapter_options import AdapterOptions
from hotline.families.writer_options import PretrainedWriterOptions
from hotline.task import Input, Target


def merge(model: Any, inputs: Sequence[Input], targets: Sequence[Target]) -> merging.Report:
    """Merge the writer's adapter in 32 bits, round to what will be stored, compare. Raises IntegrityError."""
    chosen, adapter, chat = model.options.root, model.adapter, model.chat
    bases.require(chosen, model.base)
    prompts, answers = chat.asked(inputs[: merging.HELD_ROWS]), chat.answered(targets[: merging.HELD_ROWS])

    def logits() -> Tensor:
        kept = max(1, merging.HELD_SCORES // model.model.config.vocab_size)
        return torch.cat(list(answer_rows.scores(model, prompts, answers)))[:kept]

    def texts() -> list[str]:
        said = generation.written(model.model, prompts, chat.limits, None)
        return [str(chat.tokenizer.decode(numbers)) for numbers in said]

    def fold() -> None:
        if adapter.kind == "qlora":
            _onto_whole_base(model, chosen, adapter)
        model.model.float()
        adapters.fold(model.model)
        model.model.to(language_models.precision(chosen)).float()

    return merging.verified(logits, texts, fold, model.base, adapter)


def _onto_whole_base(model: Any, chosen: PretrainedWriterOptions, adapter: AdapterOptions) -> None:
    """The adapter on the base as it was published, not as 4 bits hold it."""
    learnt = adapters.weights(model.model)
    model.model, _ = language_models.from_base(chosen)
    row_attention.install(model.model)
    adapters.inject(model.model, adapter)
    adapters.put_back(model.model, learnt)
