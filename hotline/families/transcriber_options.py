"""The `model:` section of a transcriber recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from hotline.families.adapter_options import AdapterOptions

Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Normalise = Literal["bands", "level"]


class Augmentation(_Section):
    """What happens to a training clip, drawn from (seed, epoch, row id); nothing of it at validation or later."""

    speed: tuple[Annotated[float, Field(ge=0.7, le=1.4)], ...] = (0.9, 1.0, 1.1)
    """Factors of speed perturbation (Ko et al. 2015), one of which is drawn."""
    telephone: Share = 0.0
    """Share of clips that go through a telephone: G.711, 300–3,400 Hz, noise, level."""
    mask_bands: Annotated[int, Field(ge=0, le=8)] = 2
    """SpecAugment (Park et al. 2019): masked frequency bands, each up to a fifth of all."""
    mask_times: Annotated[int, Field(ge=0, le=20)] = 2
    """Masked stretches of time, each up to a twentieth of the clip."""


class _Common(_Section):
    augmentation: Augmentation = Augmentation()
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    """1 decodes greedily."""
    pieces: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Pieces of Latin words in the vocabulary, beside the characters."""
    dialect_weight: Annotated[float, Field(ge=0)] = 0.3
    """Of the dialect's cross entropy beside the text's loss."""
    word_times: bool = False
    """Learn beside the recogniser where in the sound its words lie; without it no word carries a time."""


class CtcOptions(_Common):
    """From scratch: log-mel → FastConformer (Rekesh et al. 2023, transformers' Parakeet) → CTC over characters."""

    architecture: Literal["ctc"]
    sample_rate_hz: Literal[8000, 16000] = 8000
    mel_bins: Annotated[int, Field(ge=16, le=128)] = 64
    normalise: Normalise = "bands"
    """`bands`: every band of a clip has mean 0, which takes the line's colour away. `level`: only the clip's level is
    taken away, for single words, where the mean of a band is the word itself."""
    width: Annotated[int, Field(ge=16, multiple_of=4)] = 144
    layers: Annotated[int, Field(ge=1)] = 4
    heads: Annotated[int, Field(ge=1)] = 4
    expansion: Annotated[int, Field(ge=1, le=8)] = 4
    """Width of the feed-forward layers, in widths."""
    kernel: Annotated[int, Field(ge=3)] = 9
    stem_channels: Annotated[int, Field(ge=8)] = 64
    subsampling: Literal[2, 4, 8] = 4
    """Frames of 10 ms per output: with 8 the letters of English do not fit under CTC."""
    intermediate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the loss that is read off the layers below the last one; none is learnt with a single layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class SequenceOptions(_Common):
    """From scratch: log-mel → encoder and autoregressive decoder over characters (Whisper, Radford et al. 2022)."""

    architecture: Literal["sequence"]
    sample_rate_hz: Literal[8000, 16000] = 8000
    mel_bins: Annotated[int, Field(ge=16, le=128)] = 64
    normalise: Normalise = "bands"
    width: Annotated[int, Field(ge=16, multiple_of=4)] = 144
    layers: Annotated[int, Field(ge=1)] = 4
    heads: Annotated[int, Field(ge=1)] = 4
    longest_seconds: Annotated[float, Field(gt=0, le=30)] = 20.0
    """Longer input is cut; every input is padded to it."""
    max_characters: Annotated[int, Field(ge=8, le=2000)] = 256
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


class PretrainedSpeechOptions(_Common):
    """A checkpoint of transformers, from a folder or from a hub by id and revision.

    CTC, Whisper, or an audio encoder before a language model: Qwen3-ASR and Fun-ASR-Nano.
    """

    architecture: Literal["pretrained"]
    base: Annotated[str, Field(min_length=1)]
    """A folder, or a hub id."""
    revision: str | None = None
    """Required for a hub id: a branch moves, a commit does not."""
    vocabulary: Literal["base", "corpus"] = "base"
    """`corpus`: a new CTC head over the characters of the training transcripts."""
    max_characters: Annotated[int, Field(ge=8, le=2000)] = 256
    language: str | None = None
    """What Qwen3-ASR and Fun-ASR-Nano are asked to write, such as Chinese; Whisper's is saved with its tokenizer."""
    adapter: AdapterOptions | None = None
    """None: full fine-tuning. It is always merged. The heads are learnt in full beside it, but a language model of a
    recogniser gets it alone."""

    @model_validator(mode="after")
    def _adapters_are_merged(self) -> PretrainedSpeechOptions:
        if self.adapter and (self.adapter.kind == "qlora" or not self.adapter.merge):
            raise ValueError("adapter: a recogniser takes lora or dora, merged")
        return self


class TranscriberOptions(
    RootModel[Annotated[CtcOptions | SequenceOptions | PretrainedSpeechOptions, Field(discriminator="architecture")]]
):
    model_config = ConfigDict(frozen=True)
