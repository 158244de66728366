"""The verified merge of a recogniser's adapter: likeliest symbols on held clips, and decoded texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hotline.families import adapters, bases, merging, transcriber
from hotline.families.transcriber import Transcriber
from hotline.families.transcriber_options import PretrainedSpeechOptions
from hotline.task import Input, Target

_CLIPS = 8
"""At a time."""


def merge(model: Transcriber, inputs: Sequence[Input], targets: Sequence[Target]) -> merging.Report:
    """Merge the recogniser's adapter in 32 bits and compare. Raises IntegrityError."""
    chosen, recogniser = model.options.root, model.recogniser
    assert isinstance(chosen, PretrainedSpeechOptions) and model.base and model.adapter
    bases.require(chosen, model.base)
    inputs, targets = inputs[: merging.HELD_ROWS], targets[: merging.HELD_ROWS]
    starts = range(0, len(inputs), _CLIPS)
    config = recogniser.model.config
    kept = max(1, merging.HELD_SCORES // int(getattr(config, "text_config", config).vocab_size))

    def scored(at: int) -> Tensor:
        batch = transcriber.prepare(model, inputs[at : at + _CLIPS], targets[at : at + _CLIPS])
        hidden_BLD, mask_BL, _ = recogniser.encode(batch)
        return torch.as_tensor(recogniser.scored(hidden_BLD, mask_BL, batch["text_BU"]))

    def texts() -> list[str]:
        states = (transcriber.forward(model, transcriber.prepare(model, inputs[at : at + _CLIPS])) for at in starts)
        answers = [answer.target for state in states for answer in transcriber.decode(model, state)]
        # Without the segments: their confidences move with the last bit of a weight.
        return [str(getattr(target, "text", target)) for target in answers]

    def fold() -> None:
        recogniser.model.float()
        adapters.fold(recogniser.model)

    return merging.verified(
        lambda: torch.cat([scored(at) for at in starts])[:kept], texts, fold, model.base, model.adapter
    )
