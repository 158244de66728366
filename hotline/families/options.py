"""The recipe's `model:` section of every family: architecture and base. Importing it costs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from hotline.families.classifier_options import ClassifierOptions
from hotline.families.embedder_options import EmbedderOptions
from hotline.families.transcriber_options import TranscriberOptions
from hotline.families.writer_options import WriterOptions

OPTIONS: Mapping[str, type[BaseModel]] = {
    "classifier": ClassifierOptions,
    "transcriber": TranscriberOptions,
    "writer": WriterOptions,
    "embedder": EmbedderOptions,
}
