"""Attention among the tokens of each row alone, over rows that lie one after another without any padding.

What a row's tokens see is what they see when the row is alone, whichever rows share its batch.
Legend: N tokens of all rows, H heads, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from hotline.families.row_cache import RowCache

NAME = "hotline_rows"
"""Of the attention implementation, as transformers' models name theirs."""


def install(model: Any) -> bool:
    """Have the model attend by rows when it is told their lengths, and as ever otherwise.

    False for a model that it does not fit: code of its own, sliding windows, capped scores.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    if not _fits(model):
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    return True


def _fits(model: Any) -> bool:
    config = model.config
    kinds = getattr(config, "layer_types", None)
    windowed = any(kind != "full_attention" for kind in kinds) if kinds else getattr(config, "sliding_window", None)
    capped = getattr(config, "attn_logit_softcapping", None)
    own_code = not type(model).__module__.startswith("transformers.")
    return bool(model._supports_attention_backend) and not (windowed or capped or own_code)


def arguments(lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """What the model's forward is given beside tokens and positions; the mask's shape says that there is none to make.

    Raises ValueError without rows.
    """
    if not lengths:
        raise ValueError("there are no rows")
    return {"row_lengths": list(lengths), "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)}


def attend(
    module: Any,
    query_1HND: Tensor,
    key_1HND: Tensor,
    value_1HND: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    row_lengths: Sequence[int] | None = None,
    row_cache: RowCache | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attended values (1, N, H, D); rows are told by their lengths, or by the memory that holds what they have read.

    Without either it is transformers' own attention under its mask.
    """
    if row_cache is not None:
        return row_cache.attend(module.layer_idx, query_1HND, key_1HND, value_1HND, scaling), None
    if row_lengths is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended: tuple[Tensor, None] = sdpa_attention_forward(
            module, query_1HND, key_1HND, value_1HND, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return attended
    rows = zip(
        *(torch.split(each, list(row_lengths), dim=2) for each in (query_1HND, key_1HND, value_1HND)), strict=True
    )
    grouped = key_1HND.shape[1] != query_1HND.shape[1]
    each = [
        functional.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=grouped
        )
        for query, key, value in rows
    ]
    return torch.cat(each, dim=2).transpose(1, 2).contiguous(), None
