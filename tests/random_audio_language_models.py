"""Checkpoints of Qwen3-ASR and Fun-ASR-Nano as transformers saves the large ones, random weights: tiny, or sized."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from hotline.families import vocabularies
from hotline.families.recognisers import reinitialise

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
SOUND, BEGIN, END, STACKED = "<|audio_pad|>", "<|audio_start|>", "<|audio_end|>", "<|object_ref_start|>"
SYSTEM = "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n"
ASKED = (
    "{%- for m in messages if m.role == 'user' -%}{{ asked }}{%- for c in m.content if c.type == 'language' -%}"
    "成{{ c.language }}：{%- endfor -%}{{ sound }}<|im_end|>\n{%- endfor -%}"
    "{%- for m in messages if m.role == 'assistant' -%}{{ '\n<|im_start|>assistant\n' }}{{ m.content[0].text }}"
    "<|im_end|>\n{%- endfor -%}{%- if add_generation_prompt -%}{{ '\n<|im_start|>assistant\n' }}{%- endif -%}"
)


def template(asked: str, sound: str) -> str:
    return f"{{%- set asked = {SYSTEM + asked!r} -%}}{{%- set sound = {sound!r} -%}}{ASKED}"


def tokenizer(texts: Iterable[str], size: int = 400) -> Any:
    words = vocabularies.trained(texts, size, single_characters=True)
    words.add_tokens(["<asr_text>"])
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", SOUND, BEGIN, END, STACKED]})
    for name, token in (("audio_token", SOUND), ("audio_bos_token", BEGIN), ("audio_eos_token", END)):
        words._set_model_specific_special_tokens({name: token})
    return words


def language_model(words: Any) -> dict[str, Any]:
    sizes = {**SMALL, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": len(words)}
    return {"model_type": "qwen3", **sizes, "tie_word_embeddings": True}


def qwen3_asr(
    folder: Path,
    texts: Iterable[str],
    vocabulary: int = 400,
    audio: Mapping[str, int] | None = None,
    language: Mapping[str, int] | None = None,
) -> None:
    """`audio` and `language` change sizes of the encoder and of the language model."""
    from transformers import Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRForConditionalGeneration
    from transformers import Qwen3ASRProcessor as Processor

    words = tokenizer(texts, vocabulary)
    half = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "d_model": 32}
    heard = {**half, "num_mel_bins": 24, "downsample_hidden_size": 16, "output_dim": 32, **(audio or {})}
    config = Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", **heard},
        text_config=language_model(words) | (language or {}),
        audio_token_id=words.convert_tokens_to_ids(SOUND),
        pad_token_id=words.eos_token_id,
        eos_token_id=[words.pad_token_id, words.eos_token_id],
    )
    keep(Qwen3ASRForConditionalGeneration(config), folder)
    extractor = Qwen3ASRFeatureExtractor(feature_size=heard["num_mel_bins"])
    Processor(extractor, words, chat_template=template("", BEGIN + SOUND + END)).save_pretrained(folder)


def fun_asr_nano(folder: Path, texts: Iterable[str]) -> None:
    from transformers import FunAsrNanoConfig, FunAsrNanoForConditionalGeneration, FunAsrNanoProcessor

    from hotline.families.fun_asr_features import FunAsrNanoFeatureExtractor

    words = tokenizer(texts)
    still = {"hidden_dropout": 0.0, "attention_dropout": 0.0}
    audio = {"model_type": "fun_asr_nano_encoder", **SMALL, **still, "num_hidden_layers": 2, "num_mel_bins": 24}
    config = FunAsrNanoConfig(
        audio_config={**audio, "num_timestamp_prediction_layers": 1},
        adaptor_config={**SMALL, "intermediate_size": 8, "projector_hidden_size": 64},
        text_config=language_model(words),
        audio_token_id=words.convert_tokens_to_ids(STACKED),
    )
    keep(FunAsrNanoForConditionalGeneration(config), folder)
    heard = FunAsrNanoFeatureExtractor(feature_size=24)
    FunAsrNanoProcessor(heard, words, chat_template=template("语音转写", STACKED)).save_pretrained(folder)


def keep(model: Any, folder: Path) -> None:
    torch.manual_seed(1)
    reinitialise(model)
    model.save_pretrained(folder)
