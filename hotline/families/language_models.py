"""Causal language models of transformers: from scratch, from a folder or a hub, or as they were saved."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hotline.errors import InputError
from hotline.families import vocabularies
from hotline.families.bases import find_base
from hotline.families.writer_options import PretrainedWriterOptions, ScratchOptions

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "*.tiktoken",
    "*.spm",
    "spiece.model",
)
_CANNOT_LOAD = (OSError, ValueError, TypeError, RuntimeError, KeyError, ImportError)


def fresh(options: ScratchOptions, texts: Iterable[str]) -> tuple[Any, Any]:
    """A random Qwen3 and a tokenizer trained on `texts`."""
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    tokenizer = vocabularies.trained(texts, options.vocabulary, options.single_characters)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=options.width,
        intermediate_size=int(options.width * options.expansion),
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.key_heads or options.heads,
        head_dim=options.head_width,
        max_position_embeddings=options.max_tokens,
        attention_dropout=options.dropout,
        tie_word_embeddings=True,
        initializer_range=options.width**-0.5,  # the default, 0.02, is made for widths above a thousand
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model: Any = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    return model, tokenizer


def from_base(options: PretrainedWriterOptions, **how: Any) -> tuple[Any, Any]:
    """The base with its weights, and its tokenizer.

    Raises InputError for a base that is no causal language model, lacks weights or tokenizer, or needs its own code
    without being trusted; UnavailableError when it is on a hub that cannot be reached.
    """
    folder = find_base(options)
    if options.trust_local_code and not Path(options.base).is_dir():
        raise InputError("only the code of a local folder can be trusted", where="model.base", found=options.base)
    return from_folder(folder, options, **how)


def from_folder(folder: Path, options: PretrainedWriterOptions | ScratchOptions, **how: Any) -> tuple[Any, Any]:
    """The checkpoint in that folder, and its tokenizer. Raises as `from_base` does."""
    from transformers import AutoModelForCausalLM

    trusted = isinstance(options, PretrainedWriterOptions) and options.trust_local_code
    _check_config(folder, trusted)
    tokenizer = _tokenizer(folder, trusted)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=precision(options), trust_remote_code=trusted, output_loading_info=True, **how
        )
    except _CANNOT_LOAD as error:
        raise InputError("the base's weights cannot be read", where=str(folder), found=error) from error
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise InputError(
            "the base lacks weights of its architecture",
            where=str(folder),
            found=f"{len(missing)} missing, among them {missing[0]}",
            next="name the folder of a complete checkpoint",
        )
    return model, tokenizer


def save_checkpoint(
    model: Any, tokenizer: Any, folder: Path, options: PretrainedWriterOptions | ScratchOptions
) -> None:
    """A checkpoint as transformers and other engines read it: safetensors, configurations, tokenizer, template.

    The weights become those that are stored, in the options' precision. Trusted code is stored beside them.
    """
    model.to(precision(options))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model.float()
    if isinstance(options, PretrainedWriterOptions) and options.trust_local_code:
        for file in sorted(Path(options.base).glob("*.py")):
            shutil.copyfile(file, folder / file.name)


def precision(options: PretrainedWriterOptions | ScratchOptions) -> Any:
    """What weights are stored in, as torch names it."""
    import torch

    return torch.bfloat16 if getattr(options, "dtype", "float32") == "bfloat16" else torch.float32


def _check_config(folder: Path, trusted: bool) -> None:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    own_code = "auto_map" in (folder / "config.json").read_text(encoding="utf-8")
    if own_code and not trusted:
        raise InputError(
            "the base brings code of its own",
            where=str(folder),
            next="read its Python files, then set model.trust_local_code: true for a local folder",
        )
    try:
        config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
    except _CANNOT_LOAD as error:
        raise InputError("the base's configuration cannot be read", where=str(folder), found=error) from error
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not own_code:
        raise InputError(
            "the base is no causal language model",
            where=str(folder / "config.json"),
            found=f"model_type {config.model_type!r}",
            expected="an architecture of transformers' AutoModelForCausalLM, such as qwen3 or llama",
        )


def _tokenizer(folder: Path, trusted: bool) -> Any:
    from transformers import AutoTokenizer

    if not any(found for pattern in TOKENIZER_FILES for found in folder.glob(pattern)):
        raise _no_tokenizer(folder, "none of " + ", ".join(TOKENIZER_FILES))  # transformers would make an empty one
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
    except _CANNOT_LOAD as error:
        raise _no_tokenizer(folder, error) from error
    if tokenizer.eos_token_id is None or not len(tokenizer):
        raise _no_tokenizer(folder, "none, or one without an end token")
    return tokenizer


def _no_tokenizer(folder: Path, found: object) -> InputError:
    return InputError(
        "the base has no tokenizer",
        where=str(folder),
        found=str(found).splitlines()[0] if str(found) else None,
        expected="tokenizer.json and tokenizer_config.json, with an end token",
        next="copy the files that were published with the weights",
    )
