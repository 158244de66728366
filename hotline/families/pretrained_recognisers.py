"""Pretrained acoustic models behind the interface of recognisers: any CTC architecture of transformers, and Whisper.

Legend: B clips, T samples or frames, L outputs, D width, V symbols, U symbols of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from hotline.families import speech_features
from hotline.families.characters import Characters
from hotline.families.recognisers import (
    IGNORED,
    Encoded,
    Expected,
    Heard,
    ctc_loss,
    padded,
    readings_of,
    reinitialise,
    trimmed,
)
from hotline.families.sequence_recogniser import generated, heard_of, sequence_logits, sequence_loss
from hotline.families.speech_features import Wave
from hotline.families.tokens import Tokens
from hotline.families.transcriber_options import Augmentation, PretrainedSpeechOptions

SHORTEST_SECONDS = 0.1
"""Shorter clips are filled up with silence: a convolutional stem needs a few frames."""
BATCHED_ALIKE = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "wav2vec2-bert", "parakeet_ctc")
"""Architectures of which a clip is heard the same in a batch as alone, to 1e-6, when they are given a mask."""
Draws = Sequence[np.random.Generator]


class Pretrained(nn.Module):
    """A checkpoint's model with its feature extractor and its symbols."""

    def __init__(self, model: Any, extractor: Any, symbols: Characters | Tokens) -> None:
        super().__init__()
        self.model: Any = model
        self.extractor, self.symbols = extractor, symbols
        self.characters = symbols if isinstance(symbols, Characters) else None
        self.sample_rate_hz = int(extractor.sampling_rate)
        self.sound_name = str(model.main_input_name)

    def save(self, folder: Path) -> None:
        """Configuration, generation settings, feature extractor and tokenizer; no weights."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.config.save_pretrained(folder)
        if self.model.config.is_encoder_decoder:
            self.model.generation_config.save_pretrained(folder)
        self.extractor.save_pretrained(folder)
        if isinstance(self.symbols, Tokens):
            self.symbols.save(folder)

    def extracted(self, waves: Sequence[Wave], padding: str) -> tuple[Tensor, Tensor]:
        """sound, (B, T) or frames of features, and mask_BT."""
        shortest = int(SHORTEST_SECONDS * self.sample_rate_hz)
        given = self.extractor(
            [np.pad(each, (0, max(0, shortest - len(each)))) for each in waves],
            sampling_rate=self.sample_rate_hz,
            padding=padding,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return given[self.sound_name].float(), given["attention_mask"].long()


class PretrainedCtc(Pretrained):
    """wav2vec 2.0, HuBERT, Parakeet and their kin with a CTC head."""

    spells = True

    def __init__(self, model: Any, extractor: Any, symbols: Characters | Tokens) -> None:
        super().__init__(model, extractor, symbols)
        self.blank = int(model.config.pad_token_id)
        self.hears_mask = self.sound_name != "input_values" or bool(extractor.return_attention_mask)
        """Models with group normalisation were pretrained without a mask."""
        self.batched_alike = self.hears_mask and _batched_alike(model.config)
        self.width = int(head(model).weight.shape[1])

    def features(
        self, waves: Sequence[Wave], options: Augmentation | None = None, draws: Draws | None = None
    ) -> dict[str, Tensor]:
        """sound_BT and mask_BT. SpecAugment hides bands and stretches of features; of bare samples, stretches only."""
        sound, mask_BT = self.extracted(waves, "longest")
        if draws is not None and options is not None:
            bands = options.mask_bands if sound.ndim == 3 else 0
            augmentation = options.model_copy(update={"mask_bands": bands})
            for row, length, draw in zip(sound, mask_BT.sum(1).tolist(), draws, strict=True):
                frames = row[:length] if sound.ndim == 3 else row[:length].unsqueeze(1)
                speech_features.mask(frames, augmentation, draw)
        return {"sound_BT": sound, "mask_BT": mask_BT}

    def labels(self, texts: Sequence[str]) -> Tensor:
        size = self.model.config.vocab_size
        return padded([[each for each in self.symbols.encode(text) if each < size] for text in texts])

    def encode(self, batch: dict[str, Tensor]) -> Encoded:
        """Out of training, clips that padding would change are encoded one at a time.

        In training they share a batch, as in their pretraining: ranks that share weights must make equally many passes.
        """
        sound, mask_BT = batch["sound_BT"], batch["mask_BT"]
        if self.batched_alike or self.training:
            return Encoded(*self._encoded(sound, mask_BT))
        lengths = mask_BT.sum(1).tolist()
        alone = [self._encoded(sound[n : n + 1, :to], mask_BT[n : n + 1, :to]) for n, to in enumerate(lengths)]
        hidden_BLD = pad_sequence([hidden[0] for hidden, _ in alone], batch_first=True)
        return Encoded(hidden_BLD, pad_sequence([mask[0] for _, mask in alone], batch_first=True))

    def _encoded(self, sound: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        said = encoder(self.model)(sound, attention_mask=mask_BT if self.hears_mask else None)
        hidden_BLD: Tensor = said.last_hidden_state
        mask_BL = getattr(said, "attention_mask", None)
        if mask_BL is None:
            mask_BL = _output_mask(self.model, hidden_BLD.shape[1], mask_BT)
        return hidden_BLD, mask_BL.long()

    def loss(self, encoded: Encoded, labels_BU: Tensor) -> Tensor:
        return ctc_loss(self._logits(encoded.hidden_BLD), encoded.mask_BL, labels_BU, self.blank)

    def scored(self, hidden_BLD: Tensor, mask_BL: Tensor, labels_BU: Tensor) -> Tensor:
        """Scores of the symbols at every output that is sound, (outputs, V)."""
        return self._logits(hidden_BLD)[mask_BL.bool()]

    def readings(self, hidden_BLD: Tensor, mask_BL: Tensor, beams: int) -> Any:
        return {"scores_BLV": functional.log_softmax(self._logits(hidden_BLD).float(), dim=-1), "mask_BL": mask_BL}

    def decode(
        self, state: Any, seconds: Sequence[float], beams: int, expected: Sequence[Expected] | None = None
    ) -> list[list[Heard]]:
        scored = zip(trimmed(state), seconds, expected or [()] * len(seconds), strict=True)
        return [
            readings_of(scores_LV, beams, self.blank, self.symbols.character, length / max(1, len(scores_LV)), words)
            for scores_LV, length, words in scored
        ]

    def _logits(self, hidden_BLD: Tensor) -> Tensor:
        dropped = self.model.dropout(hidden_BLD) if hasattr(self.model, "dropout") else hidden_BLD
        return torch.as_tensor(head(self.model)(dropped))


class PretrainedSequence(Pretrained):
    """Whisper. What its tokenizer writes before a text (language, task, no timestamps) is the prompt: nothing else is
    forced, so a language is chosen by saving the tokenizer with it."""

    def __init__(self, options: PretrainedSpeechOptions, model: Any, extractor: Any, tokens: Tokens) -> None:
        super().__init__(model, extractor, tokens)
        self.tokens, self.width = tokens, int(model.config.d_model)
        self.end = int(model.config.eos_token_id)
        start = int(model.config.decoder_start_token_id)
        before = tokens.tokenizer("")["input_ids"]
        self.prompt = [start, *(number for number in before if number not in (start, self.end))]
        self.longest = min(options.max_characters, model.config.max_target_positions - len(self.prompt) - 1)
        model.generation_config.forced_decoder_ids = None  # of checkpoints from before transformers 4.40

    def features(
        self, waves: Sequence[Wave], options: Augmentation | None = None, draws: Draws | None = None
    ) -> dict[str, Tensor]:
        """sound_BMT (log-mel bands) and mask_BT, of the length that the checkpoint was made for, often 30 seconds."""
        sound_BMT, mask_BT = self.extracted(waves, "max_length")
        if draws is not None and options is not None:
            for row, length, draw in zip(sound_BMT, mask_BT.sum(1).tolist(), draws, strict=True):
                speech_features.mask(row[:, :length].T, options, draw)
        return {"sound_BMT": sound_BMT, "mask_BT": mask_BT}

    def labels(self, texts: Sequence[str]) -> Tensor:
        return padded([[*self.tokens.encode(text)[: self.longest], self.end] for text in texts])

    def encode(self, batch: dict[str, Tensor]) -> Encoded:
        said = self.model.get_encoder()(batch["sound_BMT"])
        return Encoded(said.last_hidden_state, batch["mask_BT"][:, ::2])

    def loss(self, encoded: Encoded, labels_BU: Tensor) -> Tensor:
        return sequence_loss(self.model, encoded.hidden_BLD, labels_BU, self.prompt)

    def scored(self, hidden_BLD: Tensor, mask_BL: Tensor, labels_BU: Tensor) -> Tensor:
        """Scores at every symbol of the true texts, (symbols, V)."""
        return sequence_logits(self.model, hidden_BLD, labels_BU, self.prompt)[labels_BU != IGNORED]

    def readings(self, hidden_BLD: Tensor, mask_BL: Tensor, beams: int) -> Any:
        return generated(self.model, hidden_BLD, self.prompt, beams, self.longest + 1)

    def decode(self, state: Any, seconds: Sequence[float], beams: int) -> list[list[Heard]]:
        return heard_of(state, seconds, self.end, self.tokens.written)


def _output_mask(model: Any, outputs: int, mask_BT: Tensor) -> Tensor:
    """The mask of a clip's outputs, by the model's own arithmetic."""
    if hasattr(model, "_get_feature_vector_attention_mask"):
        return torch.as_tensor(model._get_feature_vector_attention_mask(outputs, mask_BT))
    return torch.as_tensor(model._get_output_attention_mask(mask_BT, target_length=outputs))


def _batched_alike(config: Any) -> bool:
    adapted = getattr(config, "add_adapter", False) and config.model_type != "wav2vec2-bert"
    return config.model_type in BATCHED_ALIKE and not adapted


def encoder(model: Any) -> Any:
    """The part of a CTC model below its head."""
    return model.encoder if model.base_model is model else model.base_model


def head(model: Any) -> Any:
    """The layer of a CTC model that scores symbols."""
    return model.lm_head if hasattr(model, "lm_head") else model.ctc_head


def new_head(model: Any) -> None:
    """Forget the head's weights."""
    reinitialise(head(model))
