"""The `model:` section of a writer recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from hotline.families.adapter_options import AdapterOptions


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sampling(_Section):
    """Answers are drawn instead of the likeliest taken; the same input always draws the same answer."""

    temperature: Annotated[float, Field(gt=0, le=5)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Only the likeliest tokens that together reach this share (Holtzman et al. 2020)."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Only that many tokens; 0 for all."""
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Only tokens with at least this share of the likeliest one's probability."""
    seed: Annotated[int, Field(ge=0)] = 0


class _Common(_Section):
    max_tokens: Annotated[int, Field(ge=16, le=1_048_576)] = 1024
    """Prompt and answer together; of a longer prompt the longest text loses its end."""
    max_answer_tokens: Annotated[int, Field(ge=1, le=65_536)] = 128
    sampling: Sampling | None = None
    """None: greedy."""
    checkpointing: bool = False
    """Forget activations and compute them again: less memory, a third more time."""

    @model_validator(mode="after")
    def _an_answer_leaves_room(self) -> _Common:
        if self.max_answer_tokens >= self.max_tokens:
            raise ValueError("max_answer_tokens leaves no room for the prompt in max_tokens")
        return self


class ScratchOptions(_Common):
    """From scratch: Qwen3's architecture, and a byte-level BPE trained on the training split."""

    architecture: Literal["scratch"]
    width: Annotated[int, Field(ge=16, multiple_of=2)] = 256
    layers: Annotated[int, Field(ge=1)] = 4
    heads: Annotated[int, Field(ge=1)] = 4
    head_width: Annotated[int, Field(ge=8, multiple_of=2)] = 64
    """Keys are normalised: narrower heads cannot point at one token among many."""
    key_heads: Annotated[int, Field(ge=1)] | None = None
    """Fewer than heads: groups of heads share keys and values (Ainslie et al. 2023)."""
    expansion: Annotated[float, Field(gt=0, le=8)] = 3.0
    """Width of the feed-forward layers, in widths."""
    vocabulary: Annotated[int, Field(ge=300, le=500_000)] = 8000
    single_characters: bool = True
    """A token never spans two Chinese characters: names are copied as they are written."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of attention."""

    @model_validator(mode="after")
    def _heads_share_keys_evenly(self) -> ScratchOptions:
        if self.heads % (self.key_heads or self.heads):
            raise ValueError("heads must be a multiple of key_heads")
        return self


class PretrainedWriterOptions(_Common):
    """Any causal language model of transformers, from a folder or from a hub by id and revision."""

    architecture: Literal["pretrained"]
    base: Annotated[str, Field(min_length=1)]
    """A folder, or a hub id."""
    revision: str | None = None
    """Required for a hub id: a branch moves, a commit does not."""
    trust_local_code: bool = False
    """Run the Python files of the base's folder (TeleChat). Read them first; never for a hub id."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What weights are loaded in and stored in."""
    adapter: AdapterOptions | None = None
    """None: full fine-tuning."""

    @model_validator(mode="after")
    def _code_is_local(self) -> PretrainedWriterOptions:
        if self.trust_local_code and self.revision is not None:
            raise ValueError("trust_local_code is for a local folder only: copy the base there, and drop `revision`")
        return self


class WriterOptions(
    RootModel[Annotated[ScratchOptions | PretrainedWriterOptions, Field(discriminator="architecture")]]
):
    model_config = ConfigDict(frozen=True)
