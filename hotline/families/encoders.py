"""Pretrained text encoders of transformers, from a folder or from a hub by id and revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hotline.families.bases import find_base
from hotline.families.classifier_options import PretrainedOptions


class PretrainedEncoder(nn.Module):
    """Texts → the mean of the last hidden states over the text's own tokens. Legend: B texts, T tokens, D width."""

    def __init__(self, options: PretrainedOptions, model: nn.Module, tokenizer: Any) -> None:
        super().__init__()
        self.options, self.model, self.tokenizer = options, model, tokenizer
        self.width = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @classmethod
    def from_base(cls, options: PretrainedOptions) -> PretrainedEncoder:
        """The encoder with its pretrained weights."""
        from transformers import AutoModel, AutoTokenizer

        folder = find_base(options)
        return cls(options, AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))

    @classmethod
    def from_saved(cls, options: PretrainedOptions, folder: Path) -> PretrainedEncoder:
        """The architecture without weights: those are in the version's one safetensors file."""
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        return cls(
            options, AutoModel.from_config(AutoConfig.from_pretrained(folder)), AutoTokenizer.from_pretrained(folder)
        )

    def save(self, folder: Path) -> None:
        """Configuration and tokenizer."""
        self.model.config.save_pretrained(folder)  # type: ignore[union-attr, operator]
        self.tokenizer.save_pretrained(folder)

    def prepare(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Batch tensors: token_BT, mask_BT; texts longer than max_tokens keep their beginning."""
        encoded = self.tokenizer(
            list(texts), truncation=True, max_length=self.options.max_tokens, padding=True, return_tensors="pt"
        )
        return {"token_BT": encoded["input_ids"], "mask_BT": encoded["attention_mask"]}

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The tokens that are read of each text, those that mark its ends among them."""
        return [
            len(each)
            for each in self.tokenizer(list(texts), truncation=True, max_length=self.options.max_tokens)["input_ids"]
        ]

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        hidden_BTD = self.model(input_ids=batch["token_BT"], attention_mask=batch["mask_BT"]).last_hidden_state
        mask_BT1 = batch["mask_BT"].unsqueeze(-1).to(hidden_BTD.dtype)
        mean_BD: Tensor = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp_min(torch.finfo(hidden_BTD.dtype).tiny)
        return mean_BD
