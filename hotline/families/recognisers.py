"""What hears: acoustic models behind one interface, made from scratch. Pretrained ones are in pretrained_speech.py.

Legend: B clips, F frames, L outputs, D width, V symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hotline.families import ctc, hotwords
from hotline.families.characters import Characters
from hotline.families.speech_features import FRAME_SECONDS, LogMel, Wave
from hotline.families.transcriber_options import Augmentation, CtcOptions

BATCH_MEMORY = 0.02
"""Of batch normalisation: a batch holds clips of one length, so that what is remembered must span many of them."""
IGNORED = -100
"""Padding of target numbers."""
Expected = Sequence[Sequence[int]]
"""Hotwords as their symbols."""


@dataclass(frozen=True)
class Heard:
    """One reading of a clip: its text in pieces (characters or words) with seconds and probabilities, best guess."""

    pieces: tuple[tuple[str, float, float, float], ...]
    """(text, start seconds, end seconds, probability)"""
    confidence: float

    @property
    def text(self) -> str:
        return " ".join("".join(piece[0] for piece in self.pieces).split())


class Encoded(NamedTuple):
    """What the encoder makes of a batch."""

    hidden_BLD: Tensor
    mask_BL: Tensor
    middle_BLD: tuple[Tensor, ...] = ()
    """Of layers before the last: in training, where the recogniser learns from them, too."""


class Recogniser(Protocol):
    """Sound → hidden states → readings."""

    sample_rate_hz: int
    width: int

    def features(
        self, waves: Sequence[Wave], options: Augmentation | None, draws: Sequence[np.random.Generator] | None
    ) -> dict[str, Tensor]:
        """Batch tensors of sound."""

    def labels(self, texts: Sequence[str]) -> Tensor:
        """Target numbers (B, U), padded with IGNORED."""

    def encode(self, batch: dict[str, Tensor]) -> Encoded:
        """Sound as hidden states."""

    def loss(self, encoded: Encoded, labels_BU: Tensor) -> Tensor:
        """Mean over the clips of the loss per symbol: a scalar."""

    def readings(self, hidden_BLD: Tensor, mask_BL: Tensor, beams: int) -> Any:
        """The state that `decode` reads: tensors only."""

    def decode(self, state: Any, seconds: Sequence[float], beams: int) -> list[list[Heard]]:
        """For every clip its readings, best first; a CTC's takes the hotwords that are `expected`, too."""


class CtcRecogniser(nn.Module):
    """FastConformer with a CTC head over characters, from scratch."""

    spells = True  # frame by frame, so that it can be told words to listen for

    def __init__(self, options: CtcOptions, characters: Characters) -> None:
        super().__init__()
        from transformers import ParakeetEncoder, ParakeetEncoderConfig

        self.options, self.characters = options, characters
        self.sample_rate_hz, self.width = options.sample_rate_hz, options.width
        self.log_mel = LogMel(options.sample_rate_hz, options.mel_bins, options.normalise)
        self.output_seconds = FRAME_SECONDS * options.subsampling
        self.encoder: Any = ParakeetEncoder(
            ParakeetEncoderConfig(
                hidden_size=options.width,
                num_hidden_layers=options.layers,
                num_attention_heads=options.heads,
                intermediate_size=options.expansion * options.width,
                conv_kernel_size=options.kernel,
                subsampling_factor=options.subsampling,
                subsampling_conv_channels=options.stem_channels,
                num_mel_bins=options.mel_bins,
                dropout=options.dropout,
                activation_dropout=options.dropout,
                attention_dropout=options.dropout,
                layerdrop=0.0,
                scale_input=False,
            )
        )
        self.head = nn.Linear(options.width, len(characters))
        reinitialise(self)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.momentum = BATCH_MEMORY

    def features(
        self,
        waves: Sequence[Wave],
        options: Augmentation | None = None,
        draws: Sequence[np.random.Generator] | None = None,
    ) -> dict[str, Tensor]:
        return self.log_mel(waves, options, draws)

    def labels(self, texts: Sequence[str]) -> Tensor:
        return padded([self.characters.encode(text) for text in texts])

    def encode(self, batch: dict[str, Tensor]) -> Encoded:
        middle = self.training and self.options.intermediate > 0
        said = self.encoder(batch["features_BFM"], attention_mask=batch["mask_BF"], output_hidden_states=middle)
        layers = said.hidden_states[1:-1] if middle else ()
        return Encoded(said.last_hidden_state, said.attention_mask, tuple(layers))

    def stem(self, batch: dict[str, Tensor]) -> Tensor:
        """What the first block gets, (B, L, D)."""
        return torch.as_tensor(self.encoder.subsampling(batch["features_BFM"], batch["mask_BF"]))

    def loss(self, encoded: Encoded, labels_BU: Tensor) -> Tensor:
        """With its share of the intermediate loss: the same head reads the layers below (Lee & Watanabe 2021)."""
        last, *middle = (
            ctc_loss(self.head(each), encoded.mask_BL, labels_BU, ctc.BLANK)
            for each in (encoded.hidden_BLD, *encoded.middle_BLD)
        )
        share = self.options.intermediate
        return (1 - share) * last + share * torch.stack(middle).mean() if middle else last

    def readings(self, hidden_BLD: Tensor, mask_BL: Tensor, beams: int) -> Any:
        return {"scores_BLV": functional.log_softmax(self.head(hidden_BLD).float(), dim=-1), "mask_BL": mask_BL}

    def decode(
        self, state: Any, seconds: Sequence[float], beams: int, expected: Sequence[Expected] | None = None
    ) -> list[list[Heard]]:
        scored = zip(trimmed(state), expected or [()] * len(seconds), strict=True)
        return [
            readings_of(scores_LV, beams, ctc.BLANK, self.characters.character, self.output_seconds, words)
            for scores_LV, words in scored
        ]


def trimmed(state: Any) -> list[ctc.LogProbabilities]:
    """Every clip's own frames of scores_BLV."""
    lengths = state["mask_BL"].sum(1).tolist()
    return [scores_LV[:length].cpu().numpy() for scores_LV, length in zip(state["scores_BLV"], lengths, strict=True)]


def readings_of(
    scores_LV: ctc.LogProbabilities,
    beams: int,
    blank: int,
    character: Any,
    output_seconds: float,
    expected: Expected = (),
) -> list[Heard]:
    """The best readings of one clip's CTC scores, and how sure they are per symbol; with `expected` words the best.

    Greedily that is the mean over the symbols' best frames; a beam knows the probability of the whole reading.
    """
    if expected:
        wide, words = max(beams, hotwords.BEAMS), hotwords.Hotwords(expected)
        symbols, score = hotwords.beam(scores_LV, wide, words, blank)[0]
        sure = math.exp(score / max(1, len(symbols)))
        return [_heard(ctc.align(scores_LV, symbols, blank), character, output_seconds, sure)]
    if beams == 1:
        pieces = ctc.greedy(scores_LV, blank)
        return [_heard(pieces, character, output_seconds, confidence([piece.probability for piece in pieces]))]
    found = ctc.beam(scores_LV, beams, blank)
    length = max(1, len(found[0][0]))  # one for all readings of a clip, so that the best stays the surest
    different: dict[str, Heard] = {}
    for symbols, score in found:
        pieces = ctc.align(scores_LV, symbols, blank)
        heard = _heard(pieces, character, output_seconds, math.exp(score / length))
        different.setdefault(heard.text, heard)  # symbols without a text make no other reading
    return list(different.values())


def _heard(pieces: Sequence[ctc.Piece], character: Any, output_seconds: float, sure: float) -> Heard:
    said = tuple((character(p.symbol), p.start * output_seconds, p.end * output_seconds, p.probability) for p in pieces)
    return Heard(said, min(1.0, sure))


def confidence(probabilities: Sequence[float]) -> float:
    """Geometric mean of the probabilities of what was said; 0 when nothing was."""
    return float(np.exp(np.log(np.maximum(probabilities, 1e-9)).mean())) if len(probabilities) else 0.0


def ctc_loss(logits_BLV: Tensor, mask_BL: Tensor, labels_BU: Tensor, blank: int) -> Tensor:
    """Mean over the clips of their CTC loss per symbol, so that wordy languages do not drown the others.

    Clips too short for their text count as 0.
    """
    scores_LBV = functional.log_softmax(logits_BLV.float(), dim=-1).transpose(0, 1)
    symbols_B = (labels_BU != IGNORED).sum(1)
    loss_B = functional.ctc_loss(
        scores_LBV,
        labels_BU.clamp_min(0),
        mask_BL.sum(1),
        symbols_B,
        blank=blank,
        reduction="none",
        zero_infinity=True,
    )
    return (loss_B / symbols_B.clamp_min(1)).mean()


def padded(numbers: Sequence[Sequence[int]]) -> Tensor:
    """Lists of numbers as one tensor, padded with IGNORED."""
    table = torch.full((len(numbers), max(1, max(map(len, numbers), default=1))), IGNORED, dtype=torch.long)
    for row, each in zip(table, numbers, strict=True):
        row[: len(each)] = torch.tensor(each, dtype=torch.long)
    return table


def reinitialise(module: nn.Module) -> None:
    """Weights that let the sound through: He et al. 2015 before a ReLU, Glorot & Bengio 2010 else, biases of zero.

    The 0.02 of transformers' configurations shrinks a convolutional stem until the encoder no longer sees its input,
    and training stays at the level of a language model without any error. PyTorch's own initialisation lets a tenth
    through beside its biases, this one most of it, and training leaves that level in half the steps.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv1d):
            layer.reset_parameters()
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
