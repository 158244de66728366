"""Keys and values of rows that are being written, in memory of one fixed size: rows join and leave at every step.

A row keeps one stretch of the memory for its whole life, so that nothing is copied while it grows.
Legend: N new tokens of all rows, R rows, H heads, D head width, S stretch of one row, C capacity, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class Stretch:
    """A row's place in the memory, and how many of its tokens are there."""

    start: int
    size: int
    seen: int = 0
    own: Any = None
    """The row's cache, where the model keeps one for each row."""


class Memory(Protocol):
    """Rows of a language model that are being written."""

    capacity: int
    free: int
    """Tokens that no row has taken."""

    def take(self, tokens: int) -> Stretch | None:
        """Room for a row of that many tokens; None while there is none."""

    def give_back(self, stretch: Stretch) -> None: ...

    def read(self, rows: Sequence[tuple[Stretch, Sequence[int]]]) -> Tensor:
        """Put the new tokens of each row into the memory; the scores (R, V) of what follows each row's last."""


def memory(writer: Any, capacity: int) -> Memory:
    """Memory for rows of that writer, `capacity` tokens in all."""
    return RowCache(writer.model, capacity) if writer.by_rows else CachePerRow(writer.model, capacity)


def bytes_per_token(config: Any, bytes_per_number: int = 4) -> int:
    """What one token's keys and values take in all layers."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width * bytes_per_number)


class RowCache:
    """One tensor of keys and one of values for every layer; new tokens of all rows go through the model side by side.

    For a model that attends by rows (row_attention.py): what a row reads is what it reads alone.
    """

    def __init__(self, model: Any, capacity: int) -> None:
        self.model, self.capacity, self.free = model, capacity, capacity
        self._taken: list[Stretch] = []
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._now: list[tuple[Stretch, int]] = []

    def take(self, tokens: int) -> Stretch | None:
        """The first gap that is large enough."""
        end = 0
        for place, other in enumerate([*self._taken, Stretch(self.capacity, 0)]):
            if other.start - end >= tokens:
                stretch = Stretch(end, tokens)
                self._taken.insert(place, stretch)
                self.free -= tokens
                return stretch
            end = other.start + other.size
        return None

    def give_back(self, stretch: Stretch) -> None:
        self._taken = [other for other in self._taken if other is not stretch]
        self.free = self.capacity - sum(other.size for other in self._taken)

    def read(self, rows: Sequence[tuple[Stretch, Sequence[int] | Tensor]]) -> Tensor:
        """Tokens that are no text, such as sound, come embedded: (tokens, width)."""
        self._now = [(stretch, len(numbers)) for stretch, numbers in rows]
        assert all(stretch.seen + count <= stretch.size for stretch, count in self._now)
        device = next(self.model.parameters()).device
        places = [place for stretch, count in self._now for place in range(stretch.seen, stretch.seen + count)]
        last = torch.tensor([count for _, count in self._now]).cumsum(0) - 1
        said = self.model(
            **self._given([numbers for _, numbers in rows], device),
            position_ids=torch.tensor([places], device=device),
            attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),  # its shape: there is none to make
            use_cache=False,
            logits_to_keep=last.to(device),
            row_cache=self,
        )
        for stretch, count in self._now:
            stretch.seen += count
        return torch.as_tensor(said.logits[0])

    def _given(self, rows: Sequence[Sequence[int] | Tensor], device: torch.device) -> dict[str, Tensor]:
        """The new tokens of all rows: by their numbers, or embedded where some of them are."""
        if not any(isinstance(row, Tensor) for row in rows):
            return {"input_ids": torch.tensor([[int(number) for row in rows for number in row]], device=device)}
        embedded = self.model.get_input_embeddings()
        whole = [row if isinstance(row, Tensor) else embedded(torch.tensor(row, device=device)) for row in rows]
        return {"inputs_embeds": torch.cat(whole)[None]}

    def attend(
        self, layer: int, query_1HND: Tensor, key_1HND: Tensor, value_1HND: Tensor, scaling: float | None
    ) -> Tensor:
        """Attended values (1, N, H, D) of the rows that are being read, after their keys and values were put down."""
        keys_HCD, values_HCD = self._layer(layer, key_1HND, value_1HND)
        grouped = key_1HND.shape[1] != query_1HND.shape[1]
        counts = [count for _, count in self._now]
        parts = zip(*(torch.split(each[0], counts, dim=1) for each in (query_1HND, key_1HND, value_1HND)), strict=True)
        found = []
        for (stretch, count), (query, key, value) in zip(self._now, parts, strict=True):
            seen, end = stretch.start + stretch.seen, stretch.start + stretch.seen + count
            keys_HCD[:, seen:end], values_HCD[:, seen:end] = key, value
            attended = functional.scaled_dot_product_attention(
                query[None],
                keys_HCD[None, :, stretch.start : end],
                values_HCD[None, :, stretch.start : end],
                attn_mask=_after(stretch.seen, count, query.device) if count > 1 and stretch.seen else None,
                is_causal=count > 1 and not stretch.seen,
                scale=scaling,
                enable_gqa=grouped,
            )
            found.append(attended)
        return torch.cat(found, dim=2).transpose(1, 2)

    def _layer(self, layer: int, key_1HND: Tensor, value_1HND: Tensor) -> tuple[Tensor, Tensor]:
        if layer not in self._layers:
            shapes = ((each.shape[1], self.capacity, each.shape[3]) for each in (key_1HND, value_1HND))
            keys_HCD, values_HCD = (key_1HND.new_empty(shape) for shape in shapes)
            self._layers[layer] = keys_HCD, values_HCD
        return self._layers[layer]


def _after(seen: int, count: int, device: torch.device) -> Tensor:
    """What each of `count` new tokens sees after `seen` others: those up to itself; (count, seen + count)."""
    return torch.ones(count, seen + count, dtype=torch.bool, device=device).tril(seen)


class CachePerRow:
    """A cache of transformers for every row, and a run of the model for each: for models that do not attend by rows."""

    def __init__(self, model: Any, capacity: int) -> None:
        self.model, self.capacity, self.free = model, capacity, capacity

    def take(self, tokens: int) -> Stretch | None:
        if tokens > self.free:
            return None
        from transformers import DynamicCache

        self.free -= tokens
        return Stretch(0, tokens, own=DynamicCache(config=self.model.config))

    def give_back(self, stretch: Stretch) -> None:
        self.free += stretch.size
        stretch.own = None

    def read(self, rows: Sequence[tuple[Stretch, Sequence[int]]]) -> Tensor:
        return torch.cat([self._one(stretch, numbers) for stretch, numbers in rows])

    def _one(self, stretch: Stretch, numbers: Sequence[int]) -> Tensor:
        device = next(self.model.parameters()).device
        end = stretch.seen + len(numbers)
        said = self.model(
            input_ids=torch.tensor([list(numbers)], device=device),
            attention_mask=torch.ones(1, end, dtype=torch.long, device=device),
            past_key_values=stretch.own,
            use_cache=True,
        )
        stretch.seen = end
        return torch.as_tensor(said.logits[0, -1:])
