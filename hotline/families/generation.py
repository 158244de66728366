"""Answers token by token: greedy, or drawn so that neither the batch nor the run before changes what is drawn.

Legend: B prompts, T tokens, U answer tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hotline import digests
from hotline.families.writer_options import Sampling


class Limits(NamedTuple):
    """What an answer may be."""

    longest: int
    """Tokens, the end token among them."""
    ends: Sequence[int]
    pad: int
    never: Sequence[int]
    """Tokens that are not written."""
    never_first: Sequence[int]


def written(model: Any, prompts: Sequence[Sequence[int]], limits: Limits, sampling: Sampling | None) -> list[list[int]]:
    """The answer to each prompt, with its end token unless the limit cut it."""
    token_BT, mask_BT = left_padded(prompts, limits.pad)
    device = next(model.parameters()).device
    token_BT = model.generate(
        input_ids=token_BT.to(device),
        attention_mask=mask_BT.to(device),
        generation_config=_plan(limits),
        logits_processor=_processors(sampling, prompts) if sampling else [],
    )
    return [_until_end(row, set(limits.ends)) for row in token_BT[:, mask_BT.shape[1] :].tolist()]


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """token_BT and mask_BT, the rows at their right ends."""
    width = max(map(len, rows))
    token_BT = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return token_BT, mask_BT


def _plan(limits: Limits) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        do_sample=False,  # drawing is a matter of the processors
        max_new_tokens=limits.longest,
        eos_token_id=list(limits.ends),
        pad_token_id=limits.pad,
        suppress_tokens=list(limits.never) or None,
        begin_suppress_tokens=list(limits.never_first) or None,
    )


def _processors(sampling: Sampling, prompts: Sequence[Sequence[int]]) -> list[Any]:
    return [*warpers(sampling), Drawn([draw(sampling.seed, prompt) for prompt in prompts])]


def warpers(sampling: Sampling) -> list[Any]:
    """What shapes the distribution before a token is drawn from it."""
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    found: list[Any] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        found.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        found.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        found.append(MinPLogitsWarper(sampling.min_p))
    return found


class Drawn:
    """Adds Gumbel noise, after which the likeliest token is one drawn from the distribution (Gumbel-max)."""

    def __init__(self, draws: Sequence[np.random.Generator]) -> None:
        self.draws = draws

    def __call__(self, input_ids: Tensor, score_BV: Tensor) -> Tensor:
        noise_BV = np.stack([draw.gumbel(size=score_BV.shape[1]) for draw in self.draws])
        return score_BV + torch.from_numpy(noise_BV).to(score_BV)


def draw(seed: int, prompt: Sequence[int]) -> np.random.Generator:
    """Seeded by the prompt: the same input draws the same, whatever is asked beside it."""
    return np.random.default_rng([seed, int(digests.of_value(list(prompt))[:16], 16)])


def _until_end(numbers: list[int], ends: set[int]) -> list[int]:
    return next((numbers[: place + 1] for place, number in enumerate(numbers) if number in ends), numbers)
