"""Recognisers from checkpoints of transformers: CTC, Whisper, or an audio encoder before a language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotline.errors import InputError
from hotline.families import adapters, audio_language_models
from hotline.families.audio_language_models import AudioLanguageModel
from hotline.families.bases import base_digest, find_base
from hotline.families.characters import Characters
from hotline.families.pretrained_recognisers import PretrainedCtc, PretrainedSequence, new_head
from hotline.families.tokens import Tokens
from hotline.families.transcriber_options import PretrainedSpeechOptions

__all__ = ["base_digest", "from_base", "from_saved"]

Recogniser = PretrainedCtc | PretrainedSequence | AudioLanguageModel
HEADS = ("lm_head", "ctc_head")
LEARNT_FROM_NOTHING = ("masked_spec_embed", "lm_head.", "ctc_head.")
"""Weights that a checkpoint may lack: the head is fine-tuned, the mask is only drawn by the model's own SpecAugment."""
UNKNOWN_SHARE = 0.2
"""More unknown symbols than this in the training transcripts, and the tokenizer is another language's."""
_CANNOT_LOAD = (OSError, ValueError, TypeError, RuntimeError)


def from_base(options: PretrainedSpeechOptions, texts: Sequence[str]) -> Recogniser:
    """The recogniser with its pretrained weights; `texts` are the training transcripts.

    Raises InputError for a checkpoint of another kind, that lacks weights, feature extractor or tokenizer, or whose
    tokenizer does not know the transcripts.
    """
    folder = find_base(options)
    config, kind = _config(folder)
    if options.vocabulary == "corpus" and kind != "ctc":
        raise InputError(
            "a checkpoint that writes texts keeps its own vocabulary", where="model.vocabulary", expected="base"
        )
    if options.language and kind != "language_model":
        raise InputError("only a base that is prompted can be told its language", where="model.language")
    symbols = Characters.of(texts, pieces=options.pieces) if options.vocabulary == "corpus" else _tokens(folder)
    if isinstance(symbols, Characters):
        config.vocab_size, config.pad_token_id = len(symbols), 0
    elif (share := symbols.unknown_share(texts)) > UNKNOWN_SHARE:
        raise InputError(
            "the checkpoint's tokenizer does not know the characters of the training transcripts",
            where=str(folder),
            found=f"{share:.0%} of the symbols unknown",
            expected=f"at most {UNKNOWN_SHARE:.0%}",
            next="set `vocabulary: corpus` (CTC), or start from a checkpoint of the language",
        )
    model = _weights(folder, config, kind, fresh_head=isinstance(symbols, Characters))
    if options.adapter and kind == "language_model":
        audio_language_models.adapt(model, options.adapter)
    elif options.adapter:
        adapters.inject(model, options.adapter, but=HEADS)
        for name in HEADS:
            if hasattr(model, name):
                getattr(model, name).requires_grad_(True)
    return _recogniser(options, folder, model, symbols)


def from_saved(options: PretrainedSpeechOptions, folder: Path, vocabulary: dict[str, Any]) -> Recogniser:
    """The architecture without weights: those are in the version's one safetensors file."""
    import torch

    config, kind = _config(folder)
    model = _auto_model(kind).from_config(config, dtype=torch.float32)
    if kind != "ctc":
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_pretrained(folder)
    return _recogniser(options, folder, model, Characters.restored(vocabulary) if vocabulary else _tokens(folder))


def _recogniser(options: PretrainedSpeechOptions, folder: Path, model: Any, symbols: Characters | Tokens) -> Recogniser:
    kind = model.config.model_type
    if kind in audio_language_models.MODEL_TYPES:
        return AudioLanguageModel(options, model, audio_language_models.find_processor(folder, kind))
    extractor = _extractor(folder)
    if model.config.is_encoder_decoder:
        assert isinstance(symbols, Tokens)
        return PretrainedSequence(options, model, extractor, symbols)
    return PretrainedCtc(model, extractor, symbols)


def _config(folder: Path) -> tuple[Any, str]:
    """The configuration, and `ctc`, `sequence` or `language_model`.

    Layer drop and the model's own SpecAugment are switched off: both draw from generators of their own, which neither a
    resumed run nor a second rank repeats.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING

    try:
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError("the base's configuration cannot be read", where=str(folder), found=error) from error
    kinds = {"whisper": "sequence", **dict.fromkeys(audio_language_models.MODEL_TYPES, "language_model")}
    kind = "ctc" if type(config) in MODEL_FOR_CTC_MAPPING else kinds.get(config.model_type)
    if kind is None:
        raise InputError(
            "the base is no recogniser of speech that can be fine-tuned here",
            where=str(folder / "config.json"),
            found=f"model_type {config.model_type!r}",
            expected="a CTC architecture of transformers (wav2vec2, hubert, wav2vec2-bert, parakeet_ctc…), "
            + ", ".join(kinds),
        )
    for part in (config, getattr(config, "encoder_config", None)):
        for name in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):
            if hasattr(part, name):
                setattr(part, name, 0.0)
        if hasattr(part, "apply_spec_augment"):
            setattr(part, "apply_spec_augment", False)  # noqa: B010
    return config, kind


def _auto_model(kind: str) -> Any:
    from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq

    return AutoModelForCTC if kind == "ctc" else AutoModelForSpeechSeq2Seq


def _weights(folder: Path, config: Any, kind: str, *, fresh_head: bool) -> Any:
    """The model with its weights, in 32 bits whatever the checkpoint was stored in."""
    import torch

    try:
        model, found = _auto_model(kind).from_pretrained(
            folder, config=config, dtype=torch.float32, ignore_mismatched_sizes=fresh_head, output_loading_info=True
        )
    except _CANNOT_LOAD as error:
        raise InputError("the base's weights cannot be read", where=str(folder), found=error) from error
    missing = sorted(name for name in found["missing_keys"] if not _may_lack(name))
    if missing:
        raise InputError(
            "the base lacks weights of its architecture",
            where=str(folder),
            found=f"{len(missing)} missing, among them {missing[0]}",
            next="name the folder of a complete checkpoint",
        )
    if fresh_head:
        new_head(model)
    return model


def _may_lack(name: str) -> bool:
    return any(part in name for part in LEARNT_FROM_NOTHING)


def _extractor(folder: Path) -> Any:
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(folder)
    except _CANNOT_LOAD as error:
        raise InputError(
            "the base has no feature extractor", where=str(folder), expected="preprocessor_config.json"
        ) from error


def _tokens(folder: Path) -> Tokens:
    from transformers import AutoTokenizer

    try:
        return Tokens(AutoTokenizer.from_pretrained(folder))
    except _CANNOT_LOAD as error:
        raise InputError(
            "the base has no tokenizer",
            where=str(folder),
            expected="the files that its tokenizer was saved to",
            next="set `vocabulary: corpus` for a new CTC head, or add the files",
        ) from error
