"""Sequence-to-sequence recognition: an encoder, and a decoder that writes one symbol after another (Whisper).

A decoder of this kind knows no frame of a symbol: every piece of a reading bears the bounds of the whole clip.
Legend: B clips, F frames, M mels, L outputs, D width, N readings, R = B·N rows, U symbols, P prompt, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hotline.families.characters import Characters
from hotline.families.recognisers import IGNORED, Encoded, Heard, confidence, padded, reinitialise
from hotline.families.speech_features import FRAME_SECONDS, LogMel, Wave
from hotline.families.transcriber_options import Augmentation, SequenceOptions

PAD, BEGIN, END = range(3)
RESERVED = 3
"""Numbers that stand for no character: padding, begin, end."""
_SCORED_AT_ONCE = 1 << 25
"""Scores of (row, symbol, vocabulary) held at a time."""


class SequenceRecogniser(nn.Module):
    """Whisper's architecture over characters, from scratch. Sound beyond `longest_seconds` is not heard."""

    def __init__(self, options: SequenceOptions, characters: Characters) -> None:
        super().__init__()
        from transformers import WhisperForConditionalGeneration

        self.options, self.characters = options, characters
        self.sample_rate_hz, self.width = options.sample_rate_hz, options.width
        self.log_mel = LogMel(options.sample_rate_hz, options.mel_bins, options.normalise)
        self.frames = 2 * math.ceil(options.longest_seconds / FRAME_SECONDS / 2)
        self.model: Any = WhisperForConditionalGeneration(_config(options, len(characters), self.frames))
        self.model.generation_config.suppress_tokens = [PAD, BEGIN]
        reinitialise(self)

    def features(
        self,
        waves: Sequence[Wave],
        options: Augmentation | None = None,
        draws: Sequence[np.random.Generator] | None = None,
    ) -> dict[str, Tensor]:
        """features_BFM and mask_BF, always of `longest_seconds`: an answer cannot depend on the batch's longest."""
        heard = self.frames * self.log_mel.hop
        batch = self.log_mel([each[:heard] for each in waves], options, draws)
        missing = self.frames - batch["mask_BF"].shape[1]
        return {
            "features_BFM": functional.pad(batch["features_BFM"], (0, 0, 0, missing)),
            "mask_BF": functional.pad(batch["mask_BF"], (0, missing)),
        }

    def labels(self, texts: Sequence[str]) -> Tensor:
        """Numbers of the characters, then END; beyond `max_characters` a text is cut."""
        return padded([[*self.characters.encode(text)[: self.options.max_characters], END] for text in texts])

    def encode(self, batch: dict[str, Tensor]) -> Encoded:
        said = self.model.get_encoder()(batch["features_BFM"].transpose(1, 2))
        return Encoded(said.last_hidden_state, batch["mask_BF"][:, ::2])

    def stem(self, batch: dict[str, Tensor]) -> Tensor:
        """What the first block gets before positions are added, (B, L, D)."""
        encoder = self.model.get_encoder()
        first_BDF = functional.gelu(encoder.conv1(batch["features_BFM"].transpose(1, 2)))
        return functional.gelu(encoder.conv2(first_BDF)).transpose(1, 2)

    def loss(self, encoded: Encoded, labels_BU: Tensor) -> Tensor:
        return sequence_loss(self.model, encoded.hidden_BLD, labels_BU, [BEGIN])

    def readings(self, hidden_BLD: Tensor, mask_BL: Tensor, beams: int) -> Any:
        return generated(self.model, hidden_BLD, [BEGIN], beams, self.options.max_characters + 1)

    def decode(self, state: Any, seconds: Sequence[float], beams: int) -> list[list[Heard]]:
        return heard_of(state, seconds, END, self._written)

    def _written(self, numbers: Sequence[int]) -> list[tuple[str, list[int]]]:
        return [(self.characters.character(number), [place]) for place, number in enumerate(numbers)]


def _config(options: SequenceOptions, symbols: int, frames: int) -> Any:
    from transformers import WhisperConfig

    return WhisperConfig(
        vocab_size=symbols,
        num_mel_bins=options.mel_bins,
        d_model=options.width,
        encoder_layers=options.layers,
        decoder_layers=options.layers,
        encoder_attention_heads=options.heads,
        decoder_attention_heads=options.heads,
        encoder_ffn_dim=4 * options.width,
        decoder_ffn_dim=4 * options.width,
        max_source_positions=frames // 2,
        max_target_positions=options.max_characters + 2,
        dropout=options.dropout,
        attention_dropout=options.dropout,
        activation_dropout=options.dropout,
        pad_token_id=PAD,
        bos_token_id=BEGIN,
        eos_token_id=END,
        decoder_start_token_id=BEGIN,
        begin_suppress_tokens=None,
    )


def sequence_loss(model: Any, hidden_BLD: Tensor, labels_BU: Tensor, prompt: Sequence[int]) -> Tensor:
    """Mean over the clips of the cross entropy per symbol, each given the prompt and the true symbols before it."""
    return symbol_loss(sequence_logits(model, hidden_BLD, labels_BU, prompt), labels_BU)


def symbol_loss(logits_BUV: Tensor, labels_BU: Tensor) -> Tensor:
    """Mean over the clips of the cross entropy per symbol."""
    loss_BU = functional.cross_entropy(logits_BUV.transpose(1, 2), labels_BU, ignore_index=IGNORED, reduction="none")
    return (loss_BU.sum(1) / (labels_BU != IGNORED).sum(1).clamp_min(1)).mean()


def sequence_logits(model: Any, hidden_BLD: Tensor, labels_BU: Tensor, prompt: Sequence[int]) -> Tensor:
    """Scores of every symbol, (B, U, V), given the prompt and the true symbols before it."""
    begin_BP = _prompts(prompt, len(labels_BU), labels_BU.device)
    before_BU = labels_BU[:, :-1].masked_fill(labels_BU[:, :-1] == IGNORED, model.config.pad_token_id)
    return _logits(model, hidden_BLD, torch.cat([begin_BP, before_BU], dim=1))[:, len(prompt) - 1 :]


def generated(model: Any, hidden_BLD: Tensor, prompt: Sequence[int], beams: int, longest: int) -> dict[str, Tensor]:
    """token_BNU after the prompt, and score_BNU, the log-probability of each; N = `beams`, best first; 1 is greedy."""
    from transformers import GenerationMixin
    from transformers.modeling_outputs import BaseModelOutput

    likeliest = Likeliest()
    watching: Any = [likeliest] if beams == 1 else []
    # The mixin's own loop: Whisper's override detects languages and walks over long recordings by itself.
    token_RU: Any = GenerationMixin.generate(
        model,
        encoder_outputs=BaseModelOutput(last_hidden_state=hidden_BLD),
        decoder_input_ids=_prompts(prompt, len(hidden_BLD), hidden_BLD.device),
        do_sample=False,
        num_beams=beams,
        num_return_sequences=beams,
        max_new_tokens=longest,
        logits_processor=watching,
    )
    hidden_RLD, before_RU = hidden_BLD.repeat_interleave(beams, dim=0), token_RU[:, :-1]
    token_RU = token_RU[:, len(prompt) :]
    score_RU = (
        likeliest.score_RU()
        if beams == 1
        else probabilities(
            lambda some: _logits(model, hidden_RLD[some], before_RU[some])[:, len(prompt) - 1 :],
            token_RU,
            model.config.vocab_size,
        )
    )
    shape = (len(hidden_BLD), beams, token_RU.shape[1])
    return {"token_BNU": token_RU.reshape(shape), "score_BNU": score_RU.reshape(shape)}


def heard_of(
    state: Any,
    seconds: Sequence[float],
    end: int,
    written: Callable[[Sequence[int]], list[tuple[str, list[int]]]],
) -> list[list[Heard]]:
    """Every clip's different readings, best first. `written` gives pieces of text, each with its tokens' places."""
    readings = []
    rows = zip(state["token_BNU"].tolist(), state["score_BNU"].float().exp().tolist(), seconds, strict=True)
    for tokens_NU, shares_NU, length in rows:
        different: dict[str, Heard] = {}
        for tokens, shares in zip(tokens_NU, shares_NU, strict=True):
            count = tokens.index(end) if end in tokens else len(tokens)
            pieces = tuple(
                (text, 0.0, length, confidence([shares[place] for place in places]))
                for text, places in written(tokens[:count])
                if text
            )
            heard = Heard(pieces, confidence(shares[: count + 1]))
            different.setdefault(heard.text, heard)
        readings.append(list(different.values()))
    return readings


class Likeliest:
    """Sees every step of a generation, and keeps the log-probability of the symbol that a greedy one takes: what was
    said is not computed once more to be scored."""

    def __init__(self) -> None:
        self._steps: list[Tensor] = []

    def __call__(self, input_ids: Tensor, score_RV: Tensor) -> Tensor:
        self._steps.append(score_RV.amax(-1) - score_RV.logsumexp(-1))
        return score_RV

    def score_RU(self) -> Tensor:
        return torch.stack(self._steps, dim=1)


def probabilities(logits: Callable[[slice], Tensor], token_RU: Tensor, vocabulary: int) -> Tensor:
    """Log-probability of every token, (R, U), a few rows at a time; `logits` gives those rows' scores, (rows, U, V)."""
    rows = max(1, _SCORED_AT_ONCE // (token_RU.shape[1] * vocabulary))
    scores = []
    for at in range(0, len(token_RU), rows):
        some = slice(at, at + rows)
        scores.append(logits(some).log_softmax(-1).gather(-1, token_RU[some].unsqueeze(-1)).squeeze(-1))
    return torch.cat(scores)


def _logits(model: Any, hidden_BLD: Tensor, token_BU: Tensor) -> Tensor:
    said = model(encoder_outputs=(hidden_BLD,), decoder_input_ids=token_BU, use_cache=False)
    return torch.as_tensor(said.logits).float()


def _prompts(prompt: Sequence[int], rows: int, device: torch.device) -> Tensor:
    return torch.tensor([list(prompt)], device=device).repeat(rows, 1)
