"""The `model:` section of a classifier recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel


class NgramOptions(BaseModel):
    """From scratch: hashed character n-grams, weighted by how much they say about the class, summed as vectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["ngrams"]
    longest: Annotated[int, Field(ge=1, le=6)] = 2
    """Characters in the longest n-gram."""
    lead_characters: Annotated[int, Field(ge=0)] = 100
    """n-grams among the first characters count as features of their own: callers name the matter first."""
    bucket_bits: Annotated[int, Field(ge=10, le=26)] = 22
    minimum_texts: Annotated[int, Field(ge=1)] = 2
    """n-grams in fewer training texts are dropped."""
    maximum_features: Annotated[int, Field(ge=1)] = 131_072
    width: Annotated[int, Field(ge=1)] = 64
    """Of one member."""
    members: Annotated[int, Field(ge=1, le=16)] = 1
    """Tables and heads trained side by side on the same batches; their logits are averaged."""
    feature_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3


class PretrainedOptions(BaseModel):
    """A transformers encoder from a local folder, or from a hub by id and revision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: Literal["pretrained"]
    base: Annotated[str, Field(min_length=1)]
    """A folder, or a hub id."""
    revision: str | None = None
    """Required for a hub id: a branch moves, a commit does not."""
    max_tokens: Annotated[int, Field(ge=8, le=8192)] = 512
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class ClassifierOptions(RootModel[Annotated[NgramOptions | PretrainedOptions, Field(discriminator="encoder")]]):
    model_config = ConfigDict(frozen=True)
