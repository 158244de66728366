"""Rows of prompt and answer one after another, without padding: position ids restart, attention stays within a row.

Which rows share a batch changes nothing for any of them. Legend: N tokens of all rows, R rows, T tokens of the longest,
A answer tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hotline.families import row_attention

_SCORED_AT_ONCE = 1 << 26
"""Scores of (answer token, vocabulary) held at a time when answers are scored."""


class Padded(Protocol):
    @property
    def pad(self) -> int: ...


class Asked(Protocol):
    """What is asked: a language model, its padding, and whether it attends by rows."""

    model: Any
    by_rows: bool
    chat: Any


def rows(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Rows one after another: token_N, position_N (from 0 in every row), length_R; next_A are the answer tokens, and
    place_A the places in N of the tokens before them."""
    lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    starts = np.cumsum([0, *lengths[:-1]])
    places = [
        np.arange(start + len(prompt) - 1, start + length - 1)
        for start, prompt, length in zip(starts, prompts, lengths, strict=True)
    ]
    return {
        "next_A": torch.tensor([number for answer in answers for number in answer]),
        "place_A": torch.from_numpy(np.concatenate(places)),
        "token_N": torch.tensor([n for pair in zip(prompts, answers, strict=True) for part in pair for n in part]),
        "position_N": torch.from_numpy(np.concatenate([np.arange(length) for length in lengths])),
        "length_R": torch.tensor(lengths),
    }


def logits(model: Asked, batch: Mapping[str, Tensor]) -> Tensor:
    """Scores of every answer token before it is known, (A, V), of a batch of rows."""
    lengths, token_N, place_A = batch["length_R"].tolist(), batch["token_N"], batch["place_A"]
    if model.by_rows:
        said = model.model(
            input_ids=token_N[None],
            position_ids=batch["position_N"][None],
            use_cache=False,
            logits_to_keep=place_A,
            **row_attention.arguments(lengths, token_N.device),
        )
        return torch.as_tensor(said.logits[0])
    token_RT = pad_sequence(list(torch.split(token_N, lengths)), batch_first=True, padding_value=model.chat.pad)
    mask_RT = pad_sequence([torch.ones_like(row) for row in torch.split(token_N, lengths)], batch_first=True)
    logits_RTV = model.model(input_ids=token_RT, attention_mask=mask_RT, use_cache=False).logits
    return torch.as_tensor(logits_RTV[mask_RT.bool()][place_A])


def scores(model: Asked, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """`logits` of a few rows at a time, in order, so that no table of all of them is made."""
    step = max(1, _SCORED_AT_ONCE // (max(map(len, answers)) * model.model.config.vocab_size))
    device = next(model.model.parameters()).device
    for at in range(0, len(prompts), step):
        batch = rows(prompts[at : at + step], answers[at : at + step])
        yield logits(model, {name: tensor.to(device) for name, tensor in batch.items()})


def shares(model: Asked, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Iterator[list[float]]:
    """The probability of every token of each answer, given those before it."""
    numbers = iter([number for answer in answers for number in answer])
    found: list[float] = []
    for scores_AV in scores(model, prompts, answers):
        each_AV = scores_AV.float().softmax(-1)
        found += [float(row_V[next(numbers)]) for row_V in each_AV]
    at = 0
    for answer in answers:
        yield found[at : at + len(answer)]
        at += len(answer)
