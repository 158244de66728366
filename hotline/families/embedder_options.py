"""The `model:` section of an embedder recipe: a classifier's encoder, and the vectors that are made of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel
from pydantic import ConfigDict as Config

from hotline.families.classifier_options import NgramOptions, PretrainedOptions


class Vectors(BaseModel):
    dimensions: Annotated[int, Field(ge=2, le=4096)] = 256
    """Of a vector."""
    entries_at_once: Annotated[int, Field(ge=2)] = 256
    """A tree of at most so many entries is learnt against whole; of a larger one, the entries of the batch."""


class NgramVectors(NgramOptions, Vectors):
    """From scratch."""

    members: Literal[1] = 1
    """One table: texts are compared in one space."""


class PretrainedVectors(PretrainedOptions, Vectors):
    """A transformers encoder."""


class EmbedderOptions(RootModel[Annotated[NgramVectors | PretrainedVectors, Field(discriminator="encoder")]]):
    model_config = Config(frozen=True)
